// A conversation as plain data: what a prompt is written from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace lapidary {

enum class Role : uint8_t { kSystem, kDeveloper, kUser, kAssistant, kTool, kOther };

enum class PartKind : uint8_t { kText, kImage, kAudio, kVideo };

struct Part {
  PartKind kind = PartKind::kText;
  std::string text;    // of a text part
  int32_t media = -1;  // of the others: index of the medium among the conversation's
};

// How content arrived. It shows in the prompt: a string and a list of one text are not the same in a system message,
// and a tool's null is not its empty string.
enum class ContentForm : uint8_t {
  kString,  // parts holds one text, or nothing for ""
  kParts,
  kScalar,  // null, or another JSON scalar as a tool's result: see Message::scalar
};

struct ToolCall {
  std::optional<std::string> id;
  std::string name;
  Json arguments = Json::object();  // an object or null
};

// A result that stands on the assistant's own message, as an alternative to a message of role tool.
struct ToolResponse {
  std::string name;
  Json response;
};

struct Message {
  Role role = Role::kUser;
  std::string role_name;  // of kOther, printed as it is
  ContentForm form = ContentForm::kString;
  std::vector<Part> parts;
  Json scalar;            // of kScalar
  std::string reasoning;  // an assistant's thoughts
  std::vector<ToolCall> tool_calls;
  std::vector<ToolResponse> tool_responses;
  std::optional<std::string> tool_call_id;  // of a tool message: the call that it answers
  std::string name;                         // of a tool message: the function, when no call has that id
};

// The two published templates. They differ in one place: with thinking off, kLarge (12B, 26B-A4B, 31B) opens the reply
// with an empty thought channel, kSmall (E2B, E4B) does not.
enum class PromptStyle : uint8_t { kLarge, kSmall };

struct Conversation {
  std::vector<Message> messages;
  Json tools = Json::array();  // [{"type": "function", "function": {...}}] or bare functions; see check_tools
  bool thinking = false;
  bool preserve_thinking = false;  // thoughts of earlier turns with tool calls stay
  bool add_generation_prompt = true;
  PromptStyle style = PromptStyle::kLarge;
  bool repair = true;  // mend the published template's known faults: see prompt_writer.h
};

inline Message text_message(Role role, std::string text) {
  Message message;
  message.role = role;
  message.parts.push_back({PartKind::kText, std::move(text)});
  return message;
}

}  // namespace lapidary
