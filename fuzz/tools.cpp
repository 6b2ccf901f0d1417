// Bytes as the JSON of tool declarations: what is accepted can be written into a prompt, repaired or as the template
// has it.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "chat/prompt_writer.h"
#include "chat/tool_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!json) return 0;
  const auto tools = check_tools(*json, "fuzz");
  if (!tools) {
    CHECK(!tools.error().message.empty());
    return 0;
  }
  Conversation conversation;
  conversation.tools = *tools;
  Message message;
  message.parts = {{PartKind::kText, "?"}};
  conversation.messages = {message};
  for (const bool repair : {true, false}) {
    conversation.repair = repair;
    const std::string text = prompt_text(conversation);
    CHECK(tools->empty() || text.find("declaration:") != std::string::npos);
  }
  CHECK(check_tools(*tools, "again"));  // the first form is accepted, too
  return 0;
}
