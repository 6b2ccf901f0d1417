// Conversations of the golden files (messages as the reference's apply_chat_template takes them) -> Conversation.
#pragma once

#include <string>

#include "base/json.h"
#include "chat/messages.h"

namespace lapidary {

inline Role role_of(const std::string& name) {
  if (name == "system") return Role::kSystem;
  if (name == "developer") return Role::kDeveloper;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  if (name == "tool") return Role::kTool;
  return Role::kOther;
}

// media counts the media parts of the conversation so far.
inline Message message_from_json(const Json& json, int32_t& media) {
  Message message;
  const std::string role = json.at("role").get<std::string>();
  message.role = role_of(role);
  if (message.role == Role::kOther) message.role_name = role;
  // apply_chat_template hands the template an empty string for null content.
  const Json content = !json.contains("content") || json["content"].is_null() ? Json("") : json["content"];
  if (content.is_string()) {
    message.parts.push_back({PartKind::kText, content.get<std::string>()});
  } else if (content.is_array()) {
    message.form = ContentForm::kParts;
    for (const Json& part : content) {
      const std::string type = part.value("type", "");
      if (type == "text") message.parts.push_back({PartKind::kText, part.at("text").get<std::string>()});
      if (type == "image" || type == "image_url") message.parts.push_back({PartKind::kImage, "", media++});
      if (type == "audio" || type == "input_audio") message.parts.push_back({PartKind::kAudio, "", media++});
      if (type == "video") message.parts.push_back({PartKind::kVideo, "", media++});
    }
  } else {
    message.form = ContentForm::kScalar;
    message.scalar = content;
  }
  for (const char* key : {"reasoning", "reasoning_content"}) {
    if (message.reasoning.empty() && json.contains(key) && json[key].is_string()) message.reasoning = json[key];
  }
  for (const Json& call : json.value("tool_calls", Json::array())) {
    ToolCall& made = message.tool_calls.emplace_back();
    if (call.contains("id")) made.id = call["id"].get<std::string>();
    made.name = call.at("function").at("name").get<std::string>();
    made.arguments = call.at("function").value("arguments", Json());
  }
  for (const Json& result : json.value("tool_responses", Json::array())) {
    message.tool_responses.push_back({result.value("name", ""), result.value("response", Json())});
  }
  if (json.contains("tool_call_id")) message.tool_call_id = json["tool_call_id"].get<std::string>();
  message.name = json.value("name", "");
  return message;
}

// {"messages": [...], "tools": [...], "enable_thinking", "preserve_thinking", "add_generation_prompt" (true)}
inline Conversation conversation_from_json(const Json& json) {
  Conversation conversation;
  int32_t media = 0;
  for (const Json& message : json.at("messages")) conversation.messages.push_back(message_from_json(message, media));
  conversation.tools = json.value("tools", Json::array());
  conversation.thinking = json.value("enable_thinking", false);
  conversation.preserve_thinking = json.value("preserve_thinking", false);
  conversation.add_generation_prompt = json.value("add_generation_prompt", true);
  return conversation;
}

}  // namespace lapidary
