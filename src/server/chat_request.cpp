#include "server/chat_request.h"

#include <fmt/format.h>

#include <map>

namespace lapidary::server {
namespace {

bool is_system(const Message& message) { return message.role == Role::kSystem || message.role == Role::kDeveloper; }

void append_text(Message& message, std::string_view text) {
  if (message.form == ContentForm::kScalar) {
    message.form = ContentForm::kString;
    message.parts.clear();
    message.scalar = nullptr;
  }
  const std::string more = message.parts.empty() ? std::string(text) : fmt::format("\n\n{}", text);
  if (!message.parts.empty() && message.parts.back().kind == PartKind::kText) {
    message.parts.back().text += more;
  } else {
    if (!message.parts.empty()) message.form = ContentForm::kParts;
    message.parts.push_back({PartKind::kText, more});
  }
}

void prepend_text(Message& message, std::string_view text) {
  if (!message.parts.empty() && message.parts.front().kind == PartKind::kText) {
    message.parts.front().text = fmt::format("{}\n\n{}", text, message.parts.front().text);
  } else {
    if (!message.parts.empty()) message.form = ContentForm::kParts;
    message.parts.insert(message.parts.begin(), {PartKind::kText, fmt::format("{}\n\n", text)});
  }
}

}  // namespace

std::string text_of(const Message& message) {
  std::string text;
  for (const Part& part : message.parts) {
    if (part.kind == PartKind::kText) text += part.text;
  }
  return text;
}

void place_system_messages(std::vector<Message>& messages, bool keep) {
  size_t leading = 0;
  while (leading < messages.size() && is_system(messages[leading])) ++leading;
  if (leading > 1) {
    std::string joined;
    for (size_t i = 0; i < leading; ++i) joined += (i > 0 ? "\n\n" : "") + text_of(messages[i]);
    messages.erase(messages.begin() + 1, messages.begin() + static_cast<std::ptrdiff_t>(leading));
    messages.front() = text_message(Role::kSystem, std::move(joined));
  }
  if (keep) return;
  std::vector<Message> placed;
  std::string waiting;  // for a user message to stand before
  for (Message& message : messages) {
    if (!is_system(message) || placed.empty()) {
      // Nothing comes between calls and their results.
      if (!waiting.empty() && message.role != Role::kTool) {
        if (placed.back().role == Role::kTool) {
          append_text(placed.back(), waiting);
        } else if (message.role == Role::kUser) {
          prepend_text(message, waiting);
        } else {
          placed.push_back(text_message(Role::kUser, waiting));
        }
        waiting.clear();
      }
      placed.push_back(std::move(message));
      continue;
    }
    const std::string text = text_of(message);
    if (text.empty()) continue;
    if (placed.back().role == Role::kUser || placed.back().role == Role::kTool) {
      append_text(placed.back(), text);
    } else {
      waiting += (waiting.empty() ? "" : "\n\n") + text;
    }
  }
  if (!waiting.empty() && placed.back().role == Role::kTool) {
    append_text(placed.back(), waiting);
  } else if (!waiting.empty()) {
    placed.push_back(text_message(Role::kUser, waiting));
  }
  messages = std::move(placed);
}

void place_results(std::vector<Message>& messages) {
  // Of each message with calls, its results by the place of their call.
  std::map<size_t, std::multimap<size_t, Message>> results;
  std::map<std::string, std::pair<size_t, size_t>> calls;  // id -> message, place; of equal ids the latest
  for (size_t i = 0; i < messages.size(); ++i) {
    for (size_t place = 0; place < messages[i].tool_calls.size(); ++place) {
      if (const auto& id = messages[i].tool_calls[place].id) calls[*id] = {i, place};
    }
    if (messages[i].role != Role::kTool) continue;
    const auto call = calls.find(messages[i].tool_call_id.value_or(""));
    if (call == calls.end()) {
      messages[i].role = Role::kUser;
      continue;
    }
    results[call->second.first].emplace(call->second.second, std::move(messages[i]));
  }
  std::vector<Message> placed;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == Role::kTool) continue;  // moved
    placed.push_back(std::move(messages[i]));
    for (auto& [place, result] : results[i]) placed.push_back(std::move(result));
  }
  messages = std::move(placed);
}

ApiResult<Json> history_arguments(const Json* value, bool strict, std::string_view param) {
  if (!value || value->is_null()) return Json::object();
  if (value->is_object()) return *value;
  const std::string text = value->is_string() ? value->get<std::string>() : dump_json(*value);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return Json::object();
  if (value->is_string()) {
    Result<Json> parsed = parse_json_exact(text, param);
    if (parsed && parsed->is_object()) return std::move(*parsed);
    if (parsed && parsed->is_null()) return Json::object();
  }
  if (strict) {
    return bad_request("invalid_tool_call_history", std::string(param),
                       fmt::format("{}: expected the JSON text of an object, found {}", param, text.substr(0, 80)));
  }
  return Json{{"_raw", text}};
}

}  // namespace lapidary::server
