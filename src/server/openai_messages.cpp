#include "server/openai_messages.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

// {"url": ...}, or the URL itself.
std::string url_of(const RequestReader& part, std::string_view key, std::string_view inner) {
  const Json* value = part.required(key);
  if (!value) return "";
  return value->is_string() ? value->get<std::string>() : part.inside(key).required_string(inner);
}

void add_part(const Service& service, const RequestReader& part, PartKind kind, std::string url, bool allow_base64,
              std::string_view key, std::optional<int32_t> image_tokens, std::vector<Part>& parts,
              ChatRequest& request) {
  const int32_t index =
      add_media(service, part, {kind, std::move(url), allow_base64, image_tokens, part.place(key)}, request);
  parts.push_back({kind, "", index});
}

std::optional<int32_t> detail_budget(const RequestReader& holder) {
  const auto detail = holder.one_of("detail", {"low", "auto", "high", "original"});
  if (detail == "low") return 70;
  if (detail == "high" || detail == "original") return 1120;
  return {};
}

// A file by its bytes: what it is decides what becomes of it.
void read_file(const Service& service, const RequestReader& file, std::vector<Part>& parts, ChatRequest& request) {
  if (file.has("file_id")) {
    file.fail({ErrorKind::kNotFound, "", fmt::format("{}: this server keeps no files", file.place("file_id")),
               file.place("file_id")});
    return;
  }
  const char* key = file.has("file_data") ? "file_data" : "file_url";
  if (!file.has("file_url") && !file.required("file_data")) return;
  const std::string data = file.string(key).value_or("");
  static const std::atomic<bool> kNever{false};
  // The kind bounds the size; which it is shows only then. A URL cannot be looked at here without fetching it.
  if (data.starts_with("http:") || data.starts_with("https:") || data.starts_with("file:")) {
    file.fail(bad_request("unsupported_media_type", file.place(key),
                          fmt::format("{}: expected the file's content as a data URL", file.place(key))));
    return;
  }
  const ApiResult<std::string> bytes = service.media().load(data, PartKind::kVideo, file.place(key), true, kNever);
  if (!bytes) return file.fail(bytes.error());
  switch (sniff_media(*bytes)) {
    case SniffedMedia::kImage:
      return add_part(service, file, PartKind::kImage, data, true, key, {}, parts, request);
    case SniffedMedia::kAudio:
      return add_part(service, file, PartKind::kAudio, data, true, key, {}, parts, request);
    case SniffedMedia::kVideo:
      return add_part(service, file, PartKind::kVideo, data, true, key, {}, parts, request);
    case SniffedMedia::kText: {
      const std::string name = file.string("filename").value_or("");
      parts.push_back({PartKind::kText, name.empty() ? *bytes : fmt::format("{}:\n{}", name, *bytes)});
      return;
    }
    case SniffedMedia::kPdf:
    case SniffedMedia::kUnknown:
      break;
  }
  file.fail(bad_request("unsupported_media_type", file.place(key),
                        fmt::format("{}: expected a picture, sound, video or text", file.place(key))));
}

Role role_of(const RequestReader& message) {
  const std::string role = message.required_string("role");
  if (role == "system") return Role::kSystem;
  if (role == "developer") return Role::kDeveloper;
  if (role == "user") return Role::kUser;
  if (role == "assistant") return Role::kAssistant;
  if (role == "tool" || role == "function") return Role::kTool;
  if (!message.failed())
    message.fail_value("role", fmt::format("expected system, developer, user, assistant or tool, found \"{}\"", role));
  return Role::kUser;
}

// A string, or a list of text parts.
std::string reasoning_of(const RequestReader& message) {
  for (const char* key : {"reasoning_content", "reasoning", "thinking"}) {
    const Json* value = message.find(key);
    if (!value) continue;
    if (value->is_string()) return value->get<std::string>();
    if (!value->is_array()) continue;
    std::string text;
    for (const Json& part : *value) {
      if (part.is_object() && part.contains("text") && part["text"].is_string())
        text += part["text"].get<std::string>();
    }
    return text;
  }
  return "";
}

void read_calls(const Service& service, const RequestReader& message, Message& out) {
  const Json* calls = message.array("tool_calls");
  for (size_t i = 0; calls && i < calls->size() && !message.failed(); ++i) {
    const RequestReader call = message.element("tool_calls", i);
    const std::optional<std::string> id = call.string("id");
    if (call.string("type").value_or("function") == "custom") {
      const RequestReader custom = call.inside("custom");
      const std::string name = custom.required_string("name");
      out.tool_calls.push_back({id, name, {{"input", custom.string("input").value_or("")}}});
    } else {
      out.tool_calls.push_back(called_function(service, call.inside("function"), id));
    }
  }
  if (!calls && message.has("function_call"))
    out.tool_calls.push_back(called_function(service, message.inside("function_call"), {}));
}

}  // namespace

int32_t add_media(const Service& service, const RequestReader& reader, MediaRef ref, ChatRequest& request) {
  const ServeOptions& options = service.options();
  const auto count = std::count_if(request.media.begin(), request.media.end(),
                                   [&](const MediaRef& each) { return each.kind == ref.kind; });
  const int32_t most = ref.kind == PartKind::kImage   ? options.images_max
                       : ref.kind == PartKind::kAudio ? options.audios_max
                                                      : options.videos_max;
  if (count >= most) {
    const char* what = ref.kind == PartKind::kImage   ? "pictures"
                       : ref.kind == PartKind::kAudio ? "recordings"
                                                      : "videos";
    reader.fail(bad_request("too_many_media", ref.param,
                            fmt::format("{}: a request may have at most {} {}", ref.param, most, what)));
  }
  request.media.push_back(std::move(ref));
  return static_cast<int32_t>(request.media.size()) - 1;
}

void read_part(const Service& service, const RequestReader& part, std::vector<Part>& parts, ChatRequest& request) {
  const std::string type = part.required_string("type");
  if (part.failed()) return;
  if (type == "text" || type == "input_text" || type == "output_text" || type == "reasoning_text" ||
      type == "summary_text") {
    parts.push_back({PartKind::kText, part.required_string("text")});
  } else if (type == "refusal") {
    parts.push_back({PartKind::kText, part.required_string("refusal")});
  } else if (type == "image_url" || type == "input_image") {
    if (part.has("file_id") && !part.has("image_url")) {
      part.fail({ErrorKind::kNotFound, "", fmt::format("{}: this server keeps no files", part.place("file_id")),
                 part.place("file_id")});
      return;
    }
    const bool nested = part.has("image_url") && part.find("image_url")->is_object();
    std::optional<int32_t> budget = detail_budget(nested ? part.inside("image_url") : part);
    add_part(service, part, PartKind::kImage, url_of(part, "image_url", "url"), true, "image_url", budget, parts,
             request);
  } else if (type == "input_audio") {
    if (!part.required("input_audio")) return;
    const RequestReader audio = part.inside("input_audio");
    const char* key = audio.has("url") ? "url" : "data";
    add_part(service, audio, PartKind::kAudio, audio.required_string(key), true, key, {}, parts, request);
  } else if (type == "audio_url") {
    add_part(service, part, PartKind::kAudio, url_of(part, "audio_url", "url"), true, "audio_url", {}, parts, request);
  } else if (type == "video_url") {
    add_part(service, part, PartKind::kVideo, url_of(part, "video_url", "url"), true, "video_url", {}, parts, request);
  } else if (type == "input_video") {
    if (!part.required("input_video")) return;
    const RequestReader video = part.inside("input_video");
    const char* key = video.has("url") ? "url" : "data";
    add_part(service, video, PartKind::kVideo, video.required_string(key), true, key, {}, parts, request);
  } else if (type == "image" || type == "audio" || type == "video") {
    const PartKind kind = type == "image" ? PartKind::kImage : type == "audio" ? PartKind::kAudio : PartKind::kVideo;
    add_part(service, part, kind, url_of(part, type, "url"), true, type, {}, parts, request);
  } else if (type == "file") {
    if (part.required("file")) read_file(service, part.inside("file"), parts, request);
  } else if (type == "input_file") {
    read_file(service, part, parts, request);
  } else {
    part.fail_value(
        "type", fmt::format("expected text, image_url, input_audio, audio_url, video_url or file, found \"{}\"", type));
  }
}

void read_content(const Service& service, const RequestReader& message, std::string_view key, Message& out,
                  ChatRequest& request) {
  const Json* content = message.find(key);
  if (!content) return;
  if (content->is_string()) {
    if (const std::string text = content->get<std::string>(); !text.empty())
      out.parts.push_back({PartKind::kText, text});
    return;
  }
  const Json* list = message.array(key);
  if (!list) return;
  if (list->size() > static_cast<size_t>(service.options().parts_max)) {
    return message.fail_value(
        key, fmt::format("expected at most {} parts, found {}", service.options().parts_max, list->size()));
  }
  out.form = ContentForm::kParts;
  for (size_t i = 0; i < list->size() && !message.failed(); ++i) {
    // Some clients send bare strings as parts.
    if ((*list)[i].is_string()) {
      out.parts.push_back({PartKind::kText, (*list)[i].get<std::string>()});
      continue;
    }
    read_part(service, message.element(key, i), out.parts, request);
  }
}

void read_messages(const Service& service, const RequestReader& reader, ChatRequest& request) {
  const Json* messages = reader.required("messages");
  if (!messages || !(messages = reader.array("messages"))) return;
  if (messages->empty()) {
    reader.fail(bad_request("missing_required_parameter", reader.place("messages"),
                            "messages: expected at least one, found an empty list"));
    return;
  }
  if (messages->size() > static_cast<size_t>(service.options().messages_max)) {
    return reader.fail_value(
        "messages", fmt::format("expected at most {}, found {}", service.options().messages_max, messages->size()));
  }
  for (size_t i = 0; i < messages->size() && !reader.failed(); ++i) {
    const RequestReader message = reader.element("messages", i);
    Message out;
    out.role = role_of(message);
    read_content(service, message, "content", out, request);
    if (out.role == Role::kAssistant) {
      out.reasoning = reasoning_of(message);
      read_calls(service, message, out);
      if (out.parts.empty() && message.has("refusal"))
        out.parts.push_back({PartKind::kText, message.string("refusal").value_or("")});
    } else if (out.role == Role::kTool) {
      out.name = message.string("name").value_or("");
      if (message.string("role") == "tool") message.required("tool_call_id");
      out.tool_call_id = message.string("tool_call_id");
      if (!message.json().contains("content")) message.required("content");
    } else {
      message.required("content");
    }
    request.conversation.messages.push_back(std::move(out));
  }
  if (reader.failed()) return;
  place_system_messages(request.conversation.messages, service.options().keep_system_messages);
  const bool adds = reader.boolean("add_generation_prompt").value_or(true);
  const bool continues = reader.boolean("continue_final_message").value_or(false);
  if (continues && adds && reader.has("add_generation_prompt"))
    return reader.fail_value("continue_final_message", "cannot be true together with add_generation_prompt");
  const bool ends_with_reply = request.conversation.messages.back().role == Role::kAssistant &&
                               request.conversation.messages.back().tool_calls.empty();
  if (continues && !ends_with_reply)
    return reader.fail_value("continue_final_message", "the last message is not an assistant's text");
  request.continues_reply = ends_with_reply && (continues || (adds && service.options().prefill_assistant));
}

}  // namespace lapidary::server
