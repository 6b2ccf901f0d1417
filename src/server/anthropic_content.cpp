#include "server/anthropic_content.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/log.h"
#include "media/sniff.h"
#include "server/openai_messages.h"
#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

constexpr std::string_view kBillingHeader = "x-anthropic-billing-header:";
// Between blocks of a user: each says something of its own. An assistant's blocks may be cut anywhere.
constexpr std::string_view kParagraph = "\n\n";

void add_text(std::vector<Part>& parts, std::string_view text, std::string_view separator) {
  if (text.empty()) return;
  if (!parts.empty() && parts.back().kind == PartKind::kText) {
    parts.back().text += separator;
    parts.back().text += text;
  } else {
    parts.push_back({PartKind::kText, std::string(text)});
  }
}

void finish_parts(Message& message) {
  const bool plain = message.parts.size() <= 1 && std::all_of(message.parts.begin(), message.parts.end(),
                                                              [](const Part& p) { return p.kind == PartKind::kText; });
  message.form = plain ? ContentForm::kString : ContentForm::kParts;
}

// What can be read of the result of a tool that some other server ran: texts, names and addresses, no ciphers.
void collect_text(const Json& value, std::string& out) {
  if (value.is_string()) {
    out += (out.empty() ? "" : "\n") + value.get<std::string>();
  } else if (value.is_array()) {
    for (const Json& each : value) collect_text(each, out);
  } else if (value.is_object()) {
    for (const char* key : {"title", "url", "text", "stdout", "stderr", "error_code", "content", "source", "data"}) {
      if (value.contains(key)) collect_text(value[key], out);
    }
  }
}

class ContentReader {
 public:
  ContentReader(const Service& service, ChatRequest& request) : service_(service), request_(request) {}

  void read_system(const RequestReader& reader) {
    if (!reader.has("system")) return;
    add_system(reader, "system");
  }

  void read_message(const RequestReader& message) {
    const std::string role = message.required_string("role");
    if (message.failed() || !message.required("content")) return;
    if (role == "system") {
      add_system(message, "content");
    } else if (role == "assistant") {
      add_assistant(message);
    } else if (role == "user" || role == "ctx" || role == "msg") {
      add_user(message);
    } else {
      message.fail_value("role", fmt::format("expected user, assistant or system, found \"{}\"", role));
    }
  }

 private:
  std::vector<Message>& messages() { return request_.conversation.messages; }

  // The content as a list of blocks; a string is given to `text`. nullptr when there are none.
  const Json* blocks(const RequestReader& holder, std::string_view key, std::string& text) const {
    const Json* content = holder.find(key);
    if (!content) return nullptr;
    if (content->is_string()) {
      text = content->get<std::string>();
      return nullptr;
    }
    if (!content->is_array()) {
      holder.ignore_type(key, "a string or a list of blocks", false);
      return nullptr;
    }
    const auto most = static_cast<size_t>(service_.options().parts_max);
    if (content->size() > most) {
      holder.fail_value(key, fmt::format("expected at most {} blocks, found {}", most, content->size()));
      return nullptr;
    }
    return content;
  }

  void skip(const RequestReader& block, const std::string& type) const {
    spdlog::warn("{}: a block of type \"{}\" is skipped", block.path(), type.substr(0, 80));
  }

  void add_system(const RequestReader& holder, std::string_view key) {
    std::string text, whole;
    const Json* list = blocks(holder, key, whole);
    whole = without_billing_header(whole);
    for (size_t i = 0; list && i < list->size() && !holder.failed(); ++i) {
      const RequestReader block = holder.element(key, i);
      const std::string type = block.string("type").value_or("text");
      if (type != "text") {
        skip(block, type);
        continue;
      }
      text = without_billing_header(block.required_string("text"));
      if (!text.empty()) whole += (whole.empty() ? "" : kParagraph.data()) + text;
    }
    if (!whole.empty()) messages().push_back(text_message(Role::kSystem, std::move(whole)));
  }

  void add_user(const RequestReader& message) {
    Message said;
    std::string text;
    const Json* list = blocks(message, "content", text);
    add_text(said.parts, text, "");
    bool results = false;
    for (size_t i = 0; list && i < list->size() && !message.failed(); ++i) {
      const RequestReader block = message.element("content", i);
      const std::string type = block.required_string("type");
      if (type == "tool_result") {
        messages().push_back(tool_result(block));
        results = true;
      } else if (type.ends_with("_tool_result")) {
        foreign_result(block, said.parts);
      } else if (!add_block(block, type, said.parts)) {
        skip(block, type);
      }
    }
    if (results && said.parts.empty()) return;
    finish_parts(said);
    messages().push_back(std::move(said));
  }

  // Text before calls goes into a message of its own, so that it is rendered where the model said it; in one message
  // the template writes calls first. Both are one turn.
  void add_assistant(const RequestReader& message) {
    Message said, called;
    said.role = called.role = Role::kAssistant;
    std::string text, thought;
    const Json* list = blocks(message, "content", text);
    add_text(said.parts, text, "");
    for (size_t i = 0; list && i < list->size() && !message.failed(); ++i) {
      const RequestReader block = message.element("content", i);
      const std::string type = block.required_string("type");
      std::vector<Part>& parts = called.tool_calls.empty() ? said.parts : called.parts;
      if (type == "text") {
        add_text(parts, block.required_string("text"), "");
      } else if (type == "thinking") {
        const std::string more = block.string("thinking").value_or("");
        if (!more.empty()) thought += (thought.empty() ? "" : "\n") + more;
      } else if (type == "tool_use") {
        called.tool_calls.push_back(tool_use(block));
      } else if (type.ends_with("_tool_use")) {
        add_text(parts,
                 fmt::format("{}({})", block.string("name").value_or(""),
                             block.has("input") ? dump_json(*block.find("input")) : ""),
                 kParagraph);
      } else if (type.ends_with("_tool_result")) {
        foreign_result(block, parts);
      } else if (type != "redacted_thinking" && !add_block(block, type, parts)) {
        skip(block, type);
      }
    }
    const bool both = !said.parts.empty() && !called.tool_calls.empty();
    (said.parts.empty() && !called.tool_calls.empty() ? called : said).reasoning = std::move(thought);
    finish_parts(said);
    finish_parts(called);
    if (both || called.tool_calls.empty()) messages().push_back(std::move(said));
    if (!called.tool_calls.empty()) messages().push_back(std::move(called));
  }

  ToolCall tool_use(const RequestReader& block) const {
    ToolCall call;
    call.id = block.required_string("id");
    call.name = block.required_string("name");
    call.arguments = call_arguments(service_, block, "input");
    return call;
  }

  Message tool_result(const RequestReader& block) {
    Message result;
    result.role = Role::kTool;
    result.tool_call_id = block.required_string("tool_use_id");
    if (block.boolean("is_error").value_or(false)) add_text(result.parts, "Error: ", "");
    std::string text;
    const Json* list = blocks(block, "content", text);
    add_text(result.parts, text, "");
    for (size_t i = 0; list && i < list->size() && !block.failed(); ++i) {
      const RequestReader inner = block.element("content", i);
      const std::string type = inner.required_string("type");
      // The first text belongs to the "Error: " before it.
      if (type == "text" && i == 0) {
        add_text(result.parts, inner.required_string("text"), "");
      } else if (!add_block(inner, type, result.parts)) {
        skip(inner, type);
      }
    }
    finish_parts(result);
    return result;
  }

  void foreign_result(const RequestReader& block, std::vector<Part>& parts) const {
    std::string text;
    if (const Json* content = block.find("content")) collect_text(*content, text);
    add_text(parts, text, kParagraph);
  }

  // Blocks that may stand in any content. False: it is none of them.
  bool add_block(const RequestReader& block, const std::string& type, std::vector<Part>& parts) {
    if (type == "text") {
      add_text(parts, block.required_string("text"), kParagraph);
    } else if (type == "image") {
      add_medium(block, PartKind::kImage, parts);
    } else if (type == "audio") {
      add_medium(block, PartKind::kAudio, parts);
    } else if (type == "video") {
      add_medium(block, PartKind::kVideo, parts);
    } else if (type == "document") {
      add_document(block, parts);
    } else if (type == "search_result") {
      std::string text =
          fmt::format("{} ({})", block.string("title").value_or(""), block.string("source").value_or(""));
      if (const Json* content = block.find("content")) collect_text(*content, text);
      add_text(parts, text, kParagraph);
    } else {
      return false;
    }
    return true;
  }

  static void refuse_file(const RequestReader& source) {
    source.fail({ErrorKind::kNotFound, "", fmt::format("{}: this server keeps no files", source.place("file_id")),
                 source.place("file_id")});
  }

  void add_medium(const RequestReader& block, PartKind kind, std::vector<Part>& parts) {
    if (!block.required("source")) return;
    const RequestReader source = block.inside("source");
    const std::string type = source.string("type").value_or(source.has("url") ? "url" : "base64");
    if (type == "file") return refuse_file(source);
    if (type != "base64" && type != "url")
      return source.fail_value("type", fmt::format("expected base64 or url, found \"{}\"", type));
    const char* key = type == "url" ? "url" : "data";
    MediaRef ref;
    ref.kind = kind;
    ref.url = source.required_string(key);
    ref.allow_base64 = type == "base64";
    ref.param = source.place(key);
    if (source.failed()) return;
    parts.push_back({kind, "", add_media(service_, block, std::move(ref), request_)});
  }

  void add_document(const RequestReader& block, std::vector<Part>& parts) {
    if (!block.required("source")) return;
    const RequestReader source = block.inside("source");
    const std::string type = source.required_string("type");
    std::string text;
    for (const char* key : {"title", "context"}) {
      const std::string heading = block.string(key).value_or("");
      if (!heading.empty()) text += heading + "\n";
    }
    if (type == "content") {
      std::string whole;
      const Json* list = blocks(source, "content", whole);
      add_text(parts, text + whole, kParagraph);
      for (size_t i = 0; list && i < list->size() && !source.failed(); ++i) {
        const RequestReader inner = source.element("content", i);
        const std::string inner_type = inner.required_string("type");
        if (!add_block(inner, inner_type, parts)) skip(inner, inner_type);
      }
    } else if (type == "text") {
      add_text(parts, text + source.required_string("data"), kParagraph);
    } else if (type == "base64" || type == "url") {
      add_text(parts, text + document_text(source, type == "url" ? "url" : "data"), kParagraph);
    } else if (type == "file") {
      refuse_file(source);
    } else {
      source.fail_value("type", fmt::format("expected text, content, base64 or url, found \"{}\"", type));
    }
  }

  // Of a document that comes as a file. What a URL leads to is never taken for text: it could be a page that only this
  // machine may see.
  std::string document_text(const RequestReader& source, const char* key) const {
    const std::string given = source.required_string(key);
    if (source.failed()) return "";
    if (given.starts_with("http:") || given.starts_with("https:")) {
      source.fail(bad_request("unsupported_media_type", source.place(key),
                              fmt::format("{}: documents are not fetched; send the text itself", source.place(key))));
      return "";
    }
    static const std::atomic<bool> kNever{false};
    ApiResult<std::string> bytes =
        service_.media().load(given, PartKind::kText, source.place(key), std::string_view(key) == "data", kNever);
    if (!bytes) {
      source.fail(bytes.error());
      return "";
    }
    if (sniff_media(*bytes) == SniffedMedia::kText) return std::move(*bytes);
    source.fail(bad_request("unsupported_media_type", source.place(key),
                            fmt::format("{}: only documents of text can be read", source.place(key))));
    return "";
  }

  const Service& service_;
  ChatRequest& request_;
};

}  // namespace

std::string without_billing_header(std::string_view text) {
  std::string kept;
  bool first = true;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (!line.starts_with(kBillingHeader)) {
      if (!first) kept += '\n';
      kept += line;
      first = false;
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (end != std::string_view::npos && text.empty() && !first) kept += '\n';
  }
  return kept;
}

void read_anthropic_messages(const Service& service, const RequestReader& reader, ChatRequest& request) {
  if (reader.failed() || !reader.required("messages")) return;
  const Json* list = reader.array("messages");
  if (!list) return;
  if (list->empty())
    return reader.fail(
        bad_request("missing_required_parameter", "messages", "messages: expected at least one, found an empty list"));
  const auto most = static_cast<size_t>(service.options().messages_max);
  if (list->size() > most)
    return reader.fail_value("messages", fmt::format("expected at most {}, found {}", most, list->size()));
  ContentReader content(service, request);
  content.read_system(reader);
  for (size_t i = 0; i < list->size() && !reader.failed(); ++i) content.read_message(reader.element("messages", i));
  if (reader.failed()) return;
  std::vector<Message>& messages = request.conversation.messages;
  place_results(messages);
  place_system_messages(messages, service.options().keep_system_messages);
  request.continues_reply = list->back()["role"] == "assistant" && !messages.empty() &&
                            messages.back().role == Role::kAssistant && messages.back().tool_calls.empty();
}

}  // namespace lapidary::server
