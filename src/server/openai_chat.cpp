#include "server/openai_chat.h"

#include <fmt/format.h>

#include "server/openai_chat_writer.h"
#include "server/openai_messages.h"
#include "server/prepare.h"
#include "server/request_reader.h"
#include "server/sampling_fields.h"
#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

void refuse(const RequestReader& reader, std::string_view key, bool refused, std::string_view why) {
  if (refused)
    reader.fail(bad_request("unsupported_parameter", reader.place(key), fmt::format("{}: {}", reader.place(key), why)));
}

void read_unsupported(const RequestReader& reader) {
  refuse(reader, "audio", reader.has("audio"), "this server answers in text only");
  for (const std::string& modality : reader.strings("modalities", 8)) {
    if (modality != "text")
      reader.fail(bad_request("unsupported_value", "modalities",
                              fmt::format("modalities: this server answers in text only, found \"{}\"", modality)));
  }
  refuse(reader, "web_search_options", reader.has("web_search_options"), "this server does not search the web");
  refuse(reader, "chat_template", reader.has("chat_template"), "the model's own template is used");
  refuse(reader, "lora", reader.has("lora") && !reader.find("lora")->empty(), "adapters are not supported");
}

void read_logprobs(const RequestReader& reader, ChatRequest& request) {
  const bool wanted = reader.boolean("logprobs").value_or(false);
  const auto top = reader.integer("top_logprobs", 0, 20);
  if (top && *top > 0 && !wanted) reader.fail_value("top_logprobs", "needs logprobs: true");
  if (wanted) request.logprobs = static_cast<int32_t>(top.value_or(0));
}

void read_style(const Service& service, const RequestReader& reader, ChatStyle& style) {
  style.stream = reader.boolean("stream").value_or(false);
  if (reader.has("stream_options") && !style.stream) reader.fail_value("stream_options", "only with stream: true");
  const RequestReader options = reader.inside("stream_options");
  style.include_usage = options.boolean("include_usage").value_or(false);
  style.continuous_usage = options.boolean("continuous_usage_stats").value_or(false);
  style.timings_per_token = reader.boolean("timings_per_token").value_or(false);
  style.progress = reader.boolean("return_progress").value_or(false);
  style.return_tokens = reader.boolean("return_tokens").value_or(false);
  style.keep_alive_seconds =
      reader.number("sse_ping_interval", -1, 3600).value_or(service.options().keep_alive_seconds);
  const auto format = reader.one_of(
      "reasoning_format", {"none", "raw", "auto", "deepseek", "deepseek-legacy", "parsed", "text_parsed", "hidden"});
  if (format == "none" || format == "raw") style.reasoning = ReasoningFormat::kRaw;
  if (format == "hidden") style.reasoning = ReasoningFormat::kHidden;
  if (format == "deepseek-legacy") style.reasoning = ReasoningFormat::kBoth;
  const bool excluded = reader.has("reasoning") && reader.find("reasoning")->is_object() &&
                        reader.inside("reasoning").boolean("exclude").value_or(false);
  if (!reader.boolean("include_reasoning").value_or(true) || excluded) style.reasoning = ReasoningFormat::kHidden;
}

void check_accepted(const RequestReader& reader) {
  reader.ignore_type("metadata", "an object", reader.has("metadata") && reader.find("metadata")->is_object());
  reader.ignore_type("user", "a string", reader.has("user") && reader.find("user")->is_string());
  reader.ignore_type("store", "true or false", reader.has("store") && reader.find("store")->is_boolean());
}

}  // namespace

ApiResult<ChatRequest> read_chat_request(const Service& service, const Json& body, ChatStyle& style) {
  std::optional<ApiError> error;
  const RequestReader reader(body, "", error);
  ChatRequest request;
  request.model = reader.string("model").value_or("");
  if (!reader.failed()) {
    if (auto unknown = service.check_model(Surface::kOpenAi, request.model)) return std::move(*unknown);
  }
  default_sampling(service, request);
  // options.* of Ollama's dialect come first, so that the names of this one win.
  if (reader.has("options")) {
    const RequestReader options = reader.inside("options");
    read_sampling(service, options, request);
    read_tokens_max(options, 1, request);
  }
  read_unsupported(reader);
  read_style(service, reader, style);
  read_sampling(service, reader, request);
  read_tokens_max(reader, 1, request);
  read_logprobs(reader, request);
  read_thinking(service, reader, Surface::kOpenAi, request);
  read_media_options(reader, request);
  read_tools(service, reader, request);
  read_format(reader, request);
  check_accepted(reader);
  read_messages(service, reader, request);
  if (error) return std::move(*error);
  request.stream = style.stream;
  return request;
}

void handle_chat(Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  ChatStyle style;
  ApiResult<ChatRequest> request = read_chat_request(service, *body, style);
  if (!request) return call.fail(request.error());
  ApiResult<PreparedPrompt> prompt = prepare_prompt(service, *request, *call.gone);
  if (!prompt) return call.fail(prompt.error());
  ChatWriterOptions writing;
  writing.style = style;
  writing.model = request->model.empty() ? service.card().id : request->model;
  writing.fingerprint = service.card().fingerprint;
  writing.prompt_tokens = static_cast<int32_t>(prompt->input.tokens.size());
  writing.choices = request->choices;
  writing.logprobs = request->logprobs;
  writing.legacy_functions = request->legacy_functions;
  writing.custom_tools = request->custom_tools;
  writing.measures = {service.options().time_info, service.options().request_metrics};
  if (request->image_tokens == kAutoImageTokens) writing.image_budgets = prompt->image_budgets;
  ApiResult<AnswerRequest> answer = prepare_answer(service, Surface::kOpenAi, *request, std::move(*prompt), "messages");
  if (!answer) return call.fail(answer.error());
  answer->arrived = call.arrived;
  answer->options.raw = style.reasoning == ReasoningFormat::kRaw;
  auto writer = make_chat_writer(service, call, std::move(writing));
  const auto started = service.start(std::move(*answer), call.exchange, std::move(writer));
  if (!started) call.fail(started.error());
}

namespace {

// A request's prompt, for those who only want to look at it.
ApiResult<ChatRequest> read_prompt_only(const Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return std::move(body).error();
  body->erase("stream_options");
  ChatStyle style;
  return read_chat_request(service, *body, style);
}

}  // namespace

void handle_chat_count(Service& service, const Call& call) {
  const ApiResult<ChatRequest> request = read_prompt_only(service, call);
  if (!request) return call.fail(request.error());
  const ApiResult<PreparedPrompt> prompt = prepare_prompt(service, *request, *call.gone);
  if (!prompt) return call.fail(prompt.error());
  call.respond_json({{"input_tokens", prompt->input.tokens.size()}});
}

void handle_apply_template(Service& service, const Call& call) {
  const ApiResult<ChatRequest> request = read_prompt_only(service, call);
  if (!request) return call.fail(request.error());
  Conversation conversation = request->conversation;
  conversation.style = prompt_style(service.card().variant);
  std::string begun;
  if (request->continues_reply) {
    begun = text_of(conversation.messages.back());
    conversation.messages.pop_back();
  }
  call.respond_json({{"prompt", prompt_text(conversation) + begun}});
}

}  // namespace lapidary::server
