#include "server/ollama_chat.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "chat/prompt_writer.h"
#include "server/ollama_fields.h"
#include "server/ollama_writer.h"
#include "server/prepare.h"
#include "server/request_reader.h"
#include "server/sampling_fields.h"
#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

// What both have in common.
ChatRequest read_common(const Service& service, const RequestReader& reader) {
  ChatRequest request;
  request.model = read_ollama_model(service, reader);
  default_sampling(service, request);
  read_ollama_options(service, reader, request);
  read_ollama_format(reader, request);
  read_ollama_logprobs(reader, request);
  read_thinking(service, reader, Surface::kOllama, request);
  read_media_options(reader, request);
  read_keep_alive(reader);
  request.stream = reader.boolean("stream").value_or(true);
  for (const char* key : {"truncate", "shift"}) reader.boolean(key);
  return request;
}

// A request that asks for nothing but that the model be there, or go.
void respond_loaded(const Call& call, const RequestReader& reader, const OllamaWriterOptions& writing) {
  Json object = ollama_object(writing, true);
  object["done_reason"] = read_keep_alive(reader) == 0.0 ? "unload" : "load";
  call.respond_json(object);
}

// Only the prompt as it would be written, for those who debug the server.
bool wants_rendering(const RequestReader& reader) {
  if (!reader.boolean("_debug_render_only").value_or(false)) return false;
  if (spdlog::should_log(spdlog::level::debug)) return true;
  reader.fail(bad_request("unsupported_value", "_debug_render_only",
                          "_debug_render_only: only when the server was started with --log-level debug"));
  return false;
}

void respond_rendered(const Service& service, const Call& call, const ChatRequest& request, std::string text) {
  if (text.empty()) {
    Conversation conversation = request.conversation;
    conversation.style = prompt_style(service.card().variant);
    text = prompt_text(conversation);
  }
  call.respond_json({{"model", request.model},
                     {"created_at", rfc3339_now()},
                     {"_debug_info", {{"rendered_template", std::move(text)}, {"image_count", request.media.size()}}}});
}

bool fits(const Service& service, const PreparedPrompt& prompt) {
  return static_cast<int64_t>(prompt.input.tokens.size()) < service.card().context;
}

// Leaves out as many of the oldest messages as need be; what is left begins with a user's. Both stay as they are when
// nothing helps.
std::optional<ApiError> shorten(Service& service, const Call& call, ChatRequest& request, PreparedPrompt& prompt) {
  std::vector<size_t> begins;
  const std::vector<Message>& messages = request.conversation.messages;
  for (size_t i = 1; i < messages.size(); ++i) {
    if (messages[i].role == Role::kUser) begins.push_back(i);
  }
  size_t low = 0, high = begins.size();
  std::optional<std::pair<ChatRequest, PreparedPrompt>> best;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    ChatRequest shorter = without_history(request, begins[middle]);
    ApiResult<PreparedPrompt> written = prepare_prompt(service, shorter, *call.gone);
    if (!written) return std::move(written).error();
    if (fits(service, *written)) {
      best = {std::move(shorter), std::move(*written)};
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  if (!best) return {};
  spdlog::warn("/api/chat: the history is too long, messages are left out as the request allows");
  request = std::move(best->first);
  prompt = std::move(best->second);
  return {};
}

void start(Service& service, const Call& call, ApiResult<AnswerRequest> answer, OllamaWriterOptions writing) {
  if (!answer) return call.fail(answer.error());
  answer->arrived = call.arrived;
  auto writer = make_ollama_writer(service, call, std::move(writing));
  const auto started = service.start(std::move(*answer), call.exchange, std::move(writer));
  if (!started) call.fail(started.error());
}

OllamaWriterOptions writing_of(const Service& service, const ChatRequest& request, bool generate) {
  OllamaWriterOptions writing;
  writing.generate = generate;
  writing.stream = request.stream;
  writing.model = request.model;
  writing.logprobs = request.logprobs;
  writing.keep_alive_seconds = service.options().keep_alive_seconds;
  return writing;
}

void answer_conversation(Service& service, const Call& call, ChatRequest request, OllamaWriterOptions writing,
                         bool truncate, std::string_view param) {
  ApiResult<PreparedPrompt> prompt = prepare_prompt(service, request, *call.gone);
  if (!prompt) return call.fail(prompt.error());
  if (truncate && !fits(service, *prompt)) {
    if (const auto error = shorten(service, call, request, *prompt)) return call.fail(*error);
  }
  start(service, call, prepare_answer(service, Surface::kOllama, request, std::move(*prompt), param),
        std::move(writing));
}

}  // namespace

ChatRequest without_history(const ChatRequest& request, size_t begin) {
  ChatRequest shorter = request;
  std::vector<Message>& messages = shorter.conversation.messages;
  const bool has_system = !messages.empty() && messages.front().role == Role::kSystem;
  messages.erase(messages.begin() + (has_system ? 1 : 0), messages.begin() + static_cast<std::ptrdiff_t>(begin));
  shorter.media.clear();
  for (Message& message : messages) {
    for (Part& part : message.parts) {
      if (part.kind == PartKind::kText) continue;
      shorter.media.push_back(request.media[static_cast<size_t>(part.media)]);
      part.media = static_cast<int32_t>(shorter.media.size()) - 1;
    }
  }
  return shorter;
}

ApiResult<ChatRequest> read_ollama_chat(const Service& service, const Json& body) {
  std::optional<ApiError> error;
  const RequestReader reader(body, "", error);
  ChatRequest request = read_common(service, reader);
  read_tools(service, reader, request);
  read_ollama_messages(service, reader, request);
  if (error) return std::move(*error);
  return request;
}

ApiResult<ChatRequest> read_ollama_generate(const Service& service, const Json& body) {
  std::optional<ApiError> error;
  const RequestReader reader(body, "", error);
  ChatRequest request = read_common(service, reader);
  const bool raw = reader.boolean("raw").value_or(false);
  const std::string prompt = reader.string("prompt").value_or(""), system = reader.string("system").value_or("");
  if (!reader.string("suffix").value_or("").empty()) {
    reader.fail(bad_request("unsupported_value", "suffix",
                            fmt::format("suffix: {} cannot insert text between two others", request.model)));
  }
  const bool has_template = !reader.string("template").value_or("").empty();
  const Json* context = reader.array("context");
  if (raw && (!system.empty() || has_template || (context && !context->empty())))
    reader.fail_value("raw", "raw mode does not support template, system, or context");
  if (has_template) spdlog::warn("template: the model's own template is used");
  if (context && !context->empty()) spdlog::warn("context: conversations go on through /api/chat");
  if (!system.empty()) request.conversation.messages.push_back(text_message(Role::kSystem, system));
  Message message;
  read_ollama_images(service, reader, message.parts, request);
  if (raw && !message.parts.empty()) reader.fail_value("images", "pictures and sound need the model's template");
  if (!message.parts.empty()) message.form = ContentForm::kParts;
  if (!prompt.empty()) message.parts.push_back({PartKind::kText, prompt});
  request.conversation.messages.push_back(std::move(message));
  if (error) return std::move(*error);
  return request;
}

void handle_ollama_chat(Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  ApiResult<ChatRequest> request = read_ollama_chat(service, *body);
  if (!request) return call.fail(request.error());
  std::optional<ApiError> error;
  const RequestReader reader(*body, "", error);
  OllamaWriterOptions writing = writing_of(service, *request, false);
  if (request->conversation.messages.empty()) return respond_loaded(call, reader, writing);
  const bool rendering = wants_rendering(reader);
  if (error) return call.fail(*error);
  if (rendering) return respond_rendered(service, call, *request, "");
  const bool truncate = reader.boolean("truncate").value_or(false);
  answer_conversation(service, call, std::move(*request), std::move(writing), truncate, "messages");
}

void handle_ollama_generate(Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  ApiResult<ChatRequest> request = read_ollama_generate(service, *body);
  if (!request) return call.fail(request.error());
  std::optional<ApiError> error;
  const RequestReader reader(*body, "", error);
  OllamaWriterOptions writing = writing_of(service, *request, true);
  const std::string prompt = reader.string("prompt").value_or("");
  if (prompt.empty()) return respond_loaded(call, reader, writing);
  const bool raw = reader.boolean("raw").value_or(false), rendering = wants_rendering(reader);
  if (error) return call.fail(*error);
  if (rendering) return respond_rendered(service, call, *request, raw ? prompt : "");
  if (!raw) return answer_conversation(service, call, std::move(*request), std::move(writing), false, "prompt");
  std::vector<int32_t> tokens = service.tokenizer().encode(prompt, SpecialTokens::kRecognise);
  const int32_t bos = service.engine().engine().model().config().bos_id;
  if (tokens.empty() || tokens.front() != bos) tokens.insert(tokens.begin(), bos);
  start(service, call, prepare_text(service, Surface::kOllama, *request, std::move(tokens), "prompt"),
        std::move(writing));
}

}  // namespace lapidary::server
