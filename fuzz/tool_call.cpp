// Bytes as the text of a tool call (0xff stands for the token <|"|>): read whole, and while it grows.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "chat/call_stream.h"
#include "chat/tool_arguments.h"
#include "chat/tool_syntax.h"

namespace {

// Cut at every seventh byte, the way it is read must not show.
void check_stream(std::string_view text, const lapidary::Result<lapidary::ToolCall>& call) {
  using namespace lapidary;
  if (tool_call_name(text).empty()) return;
  CallStream stream;
  std::string json, rest;
  for (size_t cut = text.find('{') + 1; cut < text.size(); cut += 7) json += stream.advance(text.substr(0, cut));
  const Result<Json> arguments = stream.finish(text, rest);
  CHECK(arguments.has_value() == call.has_value());
  if (arguments) CHECK(json + rest == dump_wire_json(call->arguments));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<ToolCall> call = parse_tool_call(text);
  check_stream(text, call);
  if (!call) {
    CHECK(!call.error().message.empty());
    return 0;
  }
  CHECK(!call->name.empty());
  const std::string arguments = dump_json(call->arguments);
  CHECK(arguments.find(kStringDelimiter) == std::string::npos);
  CHECK(parse_json_exact(arguments, "arguments"));
  PromptItems items;
  write_tool_call(*call, items);
  CHECK(items.items().size() >= 3);
  return 0;
}
