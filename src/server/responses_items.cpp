#include "server/responses_items.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/base64.h"
#include "base/log.h"
#include "server/openai_messages.h"
#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

constexpr const char* kSealedKind = "lapidary.thought";

Message& push(ChatRequest& request, Role role) {
  Message& message = request.conversation.messages.emplace_back();
  message.role = role;
  return message;
}

// The assistant's turn that is being put together, if the conversation ends with one.
Message* open_turn(ChatRequest& request) {
  std::vector<Message>& messages = request.conversation.messages;
  return !messages.empty() && messages.back().role == Role::kAssistant ? &messages.back() : nullptr;
}

std::optional<Role> role_of(const RequestReader& item) {
  const std::string role = item.required_string("role");
  if (role == "user") return Role::kUser;
  if (role == "assistant") return Role::kAssistant;
  if (role == "system") return Role::kSystem;
  if (role == "developer") return Role::kDeveloper;
  if (!item.failed())
    item.fail_value("role", fmt::format("expected user, assistant, system or developer, found \"{}\"", role));
  return {};
}

void read_message(const Service& service, const RequestReader& item, ChatRequest& request) {
  const std::optional<Role> role = role_of(item);
  if (!role || !item.required("content")) return;
  Message* turn = *role == Role::kAssistant ? open_turn(request) : nullptr;
  const bool joins = turn && turn->parts.empty() && turn->tool_calls.empty();
  read_content(service, item, "content", joins ? *turn : push(request, *role), request);
}

// The text of a list of parts.
std::string joined_text(const RequestReader& item, std::string_view key) {
  const Json* parts = item.array(key);
  std::string text;
  for (size_t i = 0; parts && i < parts->size(); ++i) {
    const std::string more = item.element(key, i).string("text").value_or("");
    text += (text.empty() || more.empty() ? "" : "\n") + more;
  }
  return text;
}

void read_reasoning(const RequestReader& item, ChatRequest& request) {
  std::string thought = joined_text(item, "content");
  if (thought.empty()) thought = unseal_thought(item.string("encrypted_content").value_or("")).value_or("");
  if (thought.empty()) thought = joined_text(item, "summary");
  if (thought.empty()) return;
  Message* turn = open_turn(request);
  // Thoughts between calls of one turn are one thought.
  if (!turn || (!turn->parts.empty() && turn->tool_calls.empty())) turn = &push(request, Role::kAssistant);
  turn->reasoning += (turn->reasoning.empty() ? "" : "\n") + thought;
}

void add_call(ChatRequest& request, ToolCall call) {
  Message* turn = open_turn(request);
  if (!turn) turn = &push(request, Role::kAssistant);
  turn->tool_calls.push_back(std::move(call));
}

std::optional<std::string> call_id(const RequestReader& item) {
  std::optional<std::string> id = item.string("call_id");
  return id ? id : item.string("id");
}

void read_function_call(const Service& service, const RequestReader& item, const ResponsesTools& tools,
                        ChatRequest& request) {
  ToolCall call{call_id(item),
                declared_name(tools, item.required_string("name"), item.string("namespace").value_or(""))};
  call.arguments = call_arguments(service, item, "arguments");
  add_call(request, std::move(call));
}

void read_custom_call(const RequestReader& item, const ResponsesTools& tools, ChatRequest& request) {
  ToolCall call{call_id(item),
                declared_name(tools, item.required_string("name"), item.string("namespace").value_or(""))};
  call.arguments = {{"input", item.string("input").value_or("")}};
  add_call(request, std::move(call));
}

// Pictures and other bytes as text would fill the prompt and tell the model nothing.
Json without_blobs(const Json& value) {
  constexpr size_t kBlobCharacters = 2000;
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const bool blob = text.size() > kBlobCharacters && text.find_first_of(" \n") == std::string::npos;
    return blob ? Json(fmt::format("[{} characters]", text.size())) : value;
  }
  Json out = value;
  if (out.is_structured()) {
    for (Json& each : out) each = without_blobs(each);
  }
  return out;
}

void add_result(ChatRequest& request, const RequestReader& item, std::string text) {
  Message& message = push(request, Role::kTool);
  message.tool_call_id = call_id(item);
  if (!text.empty()) message.parts.push_back({PartKind::kText, std::move(text)});
}

// output: text, or parts. Anything else is shown as it stands.
void read_output(const Service& service, const RequestReader& item, ChatRequest& request) {
  const Json* output = item.find("output");
  const bool parts = output && output->is_array() && std::all_of(output->begin(), output->end(), [](const Json& part) {
                       return part.is_string() || (part.is_object() && part.contains("type"));
                     });
  if (!output || output->is_string() || parts) {
    Message& message = push(request, Role::kTool);
    message.tool_call_id = call_id(item);
    read_content(service, item, "output", message, request);
    return;
  }
  add_result(request, item, dump_json(without_blobs(*output)));
}

// What another service ran, or a client by a protocol that is not ours: a call, and its result if the item has one.
void read_other_call(const RequestReader& item, const std::string& type, ChatRequest& request) {
  Json arguments = Json::object(), result;
  for (const auto& [key, value] : item.json().items()) {
    if (key == "type" || key == "id" || key == "call_id" || key == "status" || key == "name" || value.is_null())
      continue;
    if (key == "output" || key == "results" || key == "outputs" || key == "result" || key == "error") {
      result[key] = without_blobs(value);
    } else if ((key == "action" || key == "operation" || key == "arguments") && value.is_object()) {
      arguments = without_blobs(value);
    } else {
      arguments[key] = without_blobs(value);
    }
  }
  const bool answered_later = item.has("call_id");
  std::string name = item.json().contains("name") && item.json()["name"].is_string()
                         ? item.json()["name"].get<std::string>()
                         : type.substr(0, type.size() - std::string_view("_call").size());
  add_call(request, {call_id(item), std::move(name), std::move(arguments)});
  if (answered_later && result.is_null()) return;
  add_result(request, item, result.is_null() ? item.string("status").value_or("completed") : dump_json(result.front()));
}

void read_other_output(const RequestReader& item, ChatRequest& request) {
  Json rest = item.json();
  for (const char* key : {"type", "id", "call_id", "status"}) rest.erase(key);
  add_result(request, item, dump_json(without_blobs(rest)));
}

}  // namespace

std::string seal_thought(std::string_view thought) {
  return encode_base64(dump_json({{"kind", kSealedKind}, {"thought", thought}}));
}

std::optional<std::string> unseal_thought(std::string_view sealed) {
  std::string text;
  if (sealed.empty() || !decode_base64(sealed, text)) return {};
  const Result<Json> json = parse_json(text, "encrypted_content");
  if (!json || !json->is_object() || json->value("kind", Json()) != kSealedKind) return {};
  const Json thought = json->value("thought", Json());
  return thought.is_string() ? std::optional(thought.get<std::string>()) : std::nullopt;
}

void read_item(const Service& service, const RequestReader& item, const ResponsesTools& tools, ChatRequest& request) {
  const std::string type = item.string("type").value_or("message");
  if (item.failed()) return;
  if (type == "message") {
    read_message(service, item, request);
  } else if (type == "reasoning") {
    read_reasoning(item, request);
  } else if (type == "function_call") {
    read_function_call(service, item, tools, request);
  } else if (type == "custom_tool_call") {
    read_custom_call(item, tools, request);
  } else if (type == "function_call_output" || type == "custom_tool_call_output") {
    if (item.required("call_id")) read_output(service, item, request);
  } else if (client_tool_of_output(type)) {
    read_output(service, item, request);
  } else if (type.ends_with("_call")) {
    read_other_call(item, type, request);
  } else if (type.ends_with("_call_output") || type == "tool_search_output") {
    read_other_output(item, request);
  } else if (type == "additional_tools") {
    push(request, Role::kDeveloper)
        .parts.push_back({PartKind::kText,
                          fmt::format("Additional tools: {}", dump_json(item.json().value("tools", Json::array())))});
  } else if (service.options().strict_tool_history && !type.starts_with("compaction")) {
    item.fail_value("type", fmt::format("\"{}\" is no kind of item that this server knows", type));
  } else {
    spdlog::log(type.starts_with("compaction") ? spdlog::level::debug : spdlog::level::warn,
                "{}: an item of type \"{}\" is left out", item.path(), type.substr(0, 64));
  }
}

void drop_bare_thoughts(ChatRequest& request) {
  std::erase_if(request.conversation.messages, [](const Message& message) {
    return message.role == Role::kAssistant && message.parts.empty() && message.tool_calls.empty();
  });
}

Json listed_item(const Json& item) {
  Json listed = item;
  const std::string type = item.value("type", "message");
  if (type != "message") {
    if (!listed.contains("id") || !listed["id"].is_string()) listed["id"] = random_id("item_");
    return listed;
  }
  const Json given = item.value("id", Json());
  listed = {{"id", given.is_string() ? given : Json(random_id("msg_"))}, {"type", "message"}};
  for (const auto& [key, value] : item.items()) {
    if (key != "id" && key != "type") listed[key] = value;
  }
  if (!listed.contains("status")) listed["status"] = "completed";
  if (const auto content = listed.find("content"); content != listed.end() && content->is_string()) {
    const bool said = listed.value("role", "") == "assistant";
    Json part = {{"type", said ? "output_text" : "input_text"}, {"text", *content}};
    if (said) part["annotations"] = Json::array();
    *content = Json::array();
    content->push_back(std::move(part));
  }
  return listed;
}

}  // namespace lapidary::server
