// Bytes as a saved conversation: what is accepted is written and read again as the same.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "cli/chat_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!json) return 0;
  const auto chat = cli::parse_chat(*json, "fuzz");
  if (!chat) {
    CHECK(!chat.error().message.empty());
    return 0;
  }
  for (const Message& message : chat->messages) {
    for (const Part& part : message.parts)
      CHECK(part.kind == PartKind::kText || static_cast<size_t>(part.media) < chat->media.size());
  }
  const Json document = cli::chat_json(*chat);
  const auto again = cli::parse_chat(document, "again");
  CHECK(again.has_value());
  CHECK(dump_json(cli::chat_json(*again)) == dump_json(document));
  return 0;
}
