#include "cli/chat_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "base/limits.h"
#include "base/mapped_file.h"
#include "chat/tool_schema.h"

namespace lapidary::cli {
namespace {

constexpr size_t kMessagesMax = 10'000, kCallsMax = 1'000;

struct KindName {
  PartKind kind;
  const char* name;
};
constexpr KindName kKinds[] = {{PartKind::kImage, "image"}, {PartKind::kAudio, "audio"}, {PartKind::kVideo, "video"}};

struct RoleName {
  Role role;
  const char* name;
};
constexpr RoleName kRoles[] = {{Role::kSystem, "system"},
                               {Role::kDeveloper, "developer"},
                               {Role::kUser, "user"},
                               {Role::kAssistant, "assistant"},
                               {Role::kTool, "tool"}};

const char* kind_name(PartKind kind) {
  for (const KindName& row : kKinds) {
    if (row.kind == kind) return row.name;
  }
  return "text";
}

const char* role_name(Role role) {
  for (const RoleName& row : kRoles) {
    if (row.role == role) return row.name;
  }
  return "user";
}

Json message_json(const Message& message, const std::vector<SavedMedium>& media) {
  Json entry = {{"role", role_name(message.role)}};
  std::string text;
  for (const Part& part : message.parts) {
    text += part.text;
    if (part.kind == PartKind::kText) continue;
    entry["media"].push_back(media[static_cast<size_t>(part.media)].path);
    entry["media_kinds"].push_back(kind_name(part.kind));
  }
  entry["content"] = message.form == ContentForm::kScalar ? message.scalar : Json(text);
  if (!message.reasoning.empty()) entry["reasoning"] = message.reasoning;
  for (const ToolCall& call : message.tool_calls) {
    Json saved = {{"name", call.name}, {"arguments", call.arguments}};
    if (call.id) saved["id"] = *call.id;
    entry["tool_calls"].push_back(std::move(saved));
  }
  if (message.tool_call_id) entry["tool_call_id"] = *message.tool_call_id;
  if (!message.name.empty()) entry["name"] = message.name;
  return entry;
}

// Reads one document; the first thing that is wrong ends it.
class ChatParser {
 public:
  ChatParser(const Json& document, std::string_view source) : document_(document), source_(source) {}

  Result<SavedChat> parse() {
    if (!document_.is_object()) return wrong("", "a JSON object with messages", document_);
    const Json* messages = find(document_, "messages");
    if (!messages || !messages->is_array()) return wrong("/messages", "an array", messages ? *messages : Json());
    if (messages->size() > kMessagesMax)
      return Error{ErrorCode::kInvalidArgument, fmt::format("{}: /messages: expected at most {}, found {}", source_,
                                                            kMessagesMax, messages->size())};
    for (size_t i = 0; i < messages->size(); ++i)
      RETURN_IF_ERROR(read_message((*messages)[i], fmt::format("/messages/{}", i)));
    if (const Json* tools = find(document_, "tools")) {
      ASSIGN_OR_RETURN(chat_.tools, check_tools(*tools, fmt::format("{}: /tools", source_)));
    }
    if (const Json* thinking = find(document_, "thinking")) {
      if (!thinking->is_boolean()) return wrong("/thinking", "true or false", *thinking);
      chat_.thinking = *thinking;
    }
    return std::move(chat_);
  }

 private:
  // nullptr when it is absent or null.
  static const Json* find(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }

  Error wrong(std::string_view place, std::string_view expected, const Json& found) const {
    std::string text = dump_json(found);
    if (text.size() > 60) text = std::string(found.type_name());
    return {ErrorCode::kInvalidArgument, fmt::format("{}: {}: expected {}, found {}", source_, place, expected, text)};
  }

  // Leaves `text` as it is when there is none.
  Result<void> read_text(const Json& object, const char* key, const std::string& place, std::string& text) {
    const Json* value = find(object, key);
    if (!value) return {};
    if (!value->is_string()) return wrong(fmt::format("{}/{}", place, key), "text", *value);
    text = value->get<std::string>();
    return {};
  }

  Result<void> read_message(const Json& entry, const std::string& place) {
    if (!entry.is_object()) return wrong(place, "an object", entry);
    Message message;
    std::string role, text, id;
    RETURN_IF_ERROR(read_text(entry, "role", place, role));
    const auto row =
        std::find_if(std::begin(kRoles), std::end(kRoles), [&](const RoleName& r) { return role == r.name; });
    if (row == std::end(kRoles)) return wrong(place + "/role", "system, user, assistant or tool", Json(role));
    message.role = row->role;
    RETURN_IF_ERROR(read_media(entry, place, message));
    const Json* content = find(entry, "content");
    if (!content && message.role == Role::kTool) message.form = ContentForm::kScalar;
    RETURN_IF_ERROR(read_text(entry, "content", place, text));
    if (!text.empty()) message.parts.push_back({PartKind::kText, std::move(text)});
    RETURN_IF_ERROR(read_text(entry, "reasoning", place, message.reasoning));
    RETURN_IF_ERROR(read_text(entry, "name", place, message.name));
    RETURN_IF_ERROR(read_text(entry, "tool_call_id", place, id));
    if (!id.empty()) message.tool_call_id = id;
    RETURN_IF_ERROR(read_calls(entry, place, message));
    chat_.messages.push_back(std::move(message));
    return {};
  }

  Result<void> read_media(const Json& entry, const std::string& place, Message& message) {
    const Json* media = find(entry, "media");
    if (!media) return {};
    const Json* kinds = find(entry, "media_kinds");
    if (!media->is_array()) return wrong(place + "/media", "an array of files", *media);
    if (kinds && (!kinds->is_array() || kinds->size() != media->size()))
      return wrong(place + "/media_kinds", "a kind for each of media", *kinds);
    if (chat_.media.size() + media->size() > static_cast<size_t>(kLimits.media_parts_max))
      return Error{ErrorCode::kInvalidArgument, fmt::format("{}: {}/media: a conversation may have at most {} media",
                                                            source_, place, kLimits.media_parts_max)};
    for (size_t i = 0; i < media->size(); ++i) {
      if (!(*media)[i].is_string())
        return wrong(fmt::format("{}/media/{}", place, i), "the name of a file", (*media)[i]);
      SavedMedium medium{(*media)[i], {}};
      if (kinds) {
        const auto row = std::find_if(std::begin(kKinds), std::end(kKinds),
                                      [&](const KindName& k) { return (*kinds)[i] == k.name; });
        if (row == std::end(kKinds))
          return wrong(fmt::format("{}/media_kinds/{}", place, i), "image, audio or video", (*kinds)[i]);
        medium.kind = row->kind;
      }
      message.form = ContentForm::kParts;
      message.parts.push_back({medium.kind.value_or(PartKind::kImage), "", static_cast<int32_t>(chat_.media.size())});
      chat_.media.push_back(std::move(medium));
    }
    return {};
  }

  Result<void> read_calls(const Json& entry, const std::string& place, Message& message) {
    const Json* calls = find(entry, "tool_calls");
    if (!calls) return {};
    if (!calls->is_array() || calls->size() > kCallsMax)
      return wrong(place + "/tool_calls", fmt::format("an array of at most {} calls", kCallsMax), *calls);
    for (size_t i = 0; i < calls->size(); ++i) {
      const std::string here = fmt::format("{}/tool_calls/{}", place, i);
      if (!(*calls)[i].is_object()) return wrong(here, "an object", (*calls)[i]);
      const Json* nested = find((*calls)[i], "function");
      const Json& call = nested ? *nested : (*calls)[i];
      if (!call.is_object()) return wrong(here + "/function", "an object", call);
      ToolCall made;
      std::string id;
      RETURN_IF_ERROR(read_text(call, "name", here, made.name));
      RETURN_IF_ERROR(read_text((*calls)[i], "id", here, id));
      if (made.name.empty()) return wrong(here + "/name", "the name of a function", Json(""));
      if (!id.empty()) made.id = id;
      if (const Json* arguments = find(call, "arguments")) made.arguments = *arguments;
      if (made.arguments.is_string()) {
        ASSIGN_OR_RETURN(made.arguments,
                         parse_json(made.arguments.get<std::string>(), fmt::format("{}: {}/arguments", source_, here)));
      }
      if (!made.arguments.is_object()) return wrong(here + "/arguments", "an object", made.arguments);
      message.tool_calls.push_back(std::move(made));
    }
    return {};
  }

  const Json& document_;
  std::string_view source_;
  SavedChat chat_;
};

}  // namespace

Json chat_json(const SavedChat& chat) {
  Json messages = Json::array();
  for (const Message& message : chat.messages) messages.push_back(message_json(message, chat.media));
  Json document = {{"messages", std::move(messages)}};
  if (!chat.tools.empty()) document["tools"] = chat.tools;
  if (chat.thinking) document["thinking"] = true;
  return document;
}

Result<SavedChat> parse_chat(const Json& document, std::string_view source) {
  return ChatParser(document, source).parse();
}

Result<SavedChat> read_chat(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kLimits.prompt_bytes_max));
  ASSIGN_OR_RETURN(const Json document, parse_json(text, path));
  return parse_chat(document, path);
}

Result<void> write_chat(const SavedChat& chat, const std::string& path) {
  std::ofstream out(path);
  out << chat_json(chat).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  out.close();
  if (!out) return Error{ErrorCode::kNotFound, fmt::format("{}: cannot be written", path)};
  return {};
}

}  // namespace lapidary::cli
