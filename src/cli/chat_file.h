// Conversations of `chat` on disk: one JSON object with what was said, thought, called and attached.
//
//   {"messages": [{"role": "user", "content": "...", "media": ["photo.jpg"], "media_kinds": ["image"]},
//                 {"role": "assistant", "content": "...", "reasoning": "...",
//                  "tool_calls": [{"id": "call_1", "name": "...", "arguments": {...}}]},
//                 {"role": "tool", "tool_call_id": "call_1", "content": "..."}],
//    "tools": [...], "thinking": false}
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "chat/messages.h"

namespace lapidary::cli {

struct SavedMedium {
  std::string path;
  std::optional<PartKind> kind;  // absent: whatever the file turns out to be
};

struct SavedChat {
  std::vector<Message> messages;   // Part::media is an index of media
  std::vector<SavedMedium> media;  // of all messages, in order
  Json tools = Json::array();      // as check_tools returns them
  bool thinking = false;
};

Json chat_json(const SavedChat& chat);

// Also calls as chat/completions has them ({"function": {"name", "arguments"}}, arguments as text), so that a history
// from elsewhere can be loaded. source names the document in messages. Errors: kInvalidArgument with the place, what
// was expected and found.
Result<SavedChat> parse_chat(const Json& document, std::string_view source);

// Errors: kNotFound, kCorruptFile, and those of parse_chat.
Result<SavedChat> read_chat(const std::string& path);
Result<void> write_chat(const SavedChat& chat, const std::string& path);

}  // namespace lapidary::cli
