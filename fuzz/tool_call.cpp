// Bytes as the text of a tool call (0xff stands for the token <|"|>).
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "chat/tool_arguments.h"
#include "chat/tool_syntax.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<ToolCall> call = parse_tool_call(text);
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
