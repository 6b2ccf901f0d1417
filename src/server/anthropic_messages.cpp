#include "server/anthropic_messages.h"

#include <algorithm>

#include "base/limits.h"
#include "server/anthropic_content.h"
#include "server/anthropic_tools.h"
#include "server/anthropic_writer.h"
#include "server/prepare.h"
#include "server/request_reader.h"
#include "server/sampling_fields.h"

namespace lapidary::server {
namespace {

void read_limits(const RequestReader& reader, bool only_counted, ChatRequest& request) {
  if (!only_counted) reader.required("max_tokens");
  if (const auto most = reader.integer("max_tokens", 1, INT64_MAX))
    request.tokens_max = static_cast<int32_t>(std::min<int64_t>(*most, INT32_MAX));
  reader.number("temperature", 0, 2);  // narrower here than where it is read
  std::vector<std::string> stop = reader.strings("stop_sequences", static_cast<size_t>(kLimits.stop_strings_max));
  std::erase(stop, "");
  if (!stop.empty()) request.stop = std::move(stop);
}

void read_output_config(const RequestReader& reader, ChatRequest& request) {
  const RequestReader config = reader.inside("output_config");
  if (config.object("format")) {
    read_format_object(config.inside("format"), true, request);
  } else if (reader.object("output_format")) {
    read_format_object(reader.inside("output_format"), true, request);
  }
}

}  // namespace

ApiResult<ChatRequest> read_messages_request(const Service& service, const Json& body, bool only_counted,
                                             MessagesStyle& style) {
  std::optional<ApiError> error;
  const RequestReader reader(body, "", error);
  ChatRequest request;
  request.model = reader.string("model").value_or("");
  if (!reader.failed()) {
    if (auto unknown = service.check_model(Surface::kAnthropic, request.model)) return std::move(*unknown);
  }
  default_sampling(service, request);
  read_sampling(service, reader, request);
  request.choices = 1;
  read_limits(reader, only_counted, request);
  reader.object("thinking");
  read_thinking(service, reader, Surface::kAnthropic, request);
  read_media_options(reader, request);
  read_anthropic_tools(service, reader, request);
  read_output_config(reader, request);
  style.stream = reader.boolean("stream").value_or(false);
  style.omit_thinking = reader.inside("thinking").string("display") == "omitted";
  reader.ignore_type("metadata", "an object", reader.has("metadata") && reader.find("metadata")->is_object());
  read_anthropic_messages(service, reader, request);
  if (error) return std::move(*error);
  request.stream = style.stream;
  return request;
}

void handle_messages(Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  MessagesStyle style;
  ApiResult<ChatRequest> request = read_messages_request(service, *body, false, style);
  if (!request) return call.fail(request.error());
  ApiResult<PreparedPrompt> prompt = prepare_prompt(service, *request, *call.gone);
  if (!prompt) return call.fail(prompt.error());
  MessagesWriterOptions writing;
  writing.style = style;
  writing.model = request->model.empty() ? service.card().id : request->model;
  writing.prompt_tokens = static_cast<int32_t>(prompt->input.tokens.size());
  writing.keep_alive_seconds = service.options().keep_alive_seconds;
  ApiResult<AnswerRequest> answer =
      prepare_answer(service, Surface::kAnthropic, *request, std::move(*prompt), "messages");
  if (!answer) return call.fail(answer.error());
  answer->arrived = call.arrived;
  auto writer = make_messages_writer(call, std::move(writing));
  const auto started = service.start(std::move(*answer), call.exchange, std::move(writer));
  if (!started) call.fail(started.error());
}

void handle_count_tokens(Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  MessagesStyle style;
  const ApiResult<ChatRequest> request = read_messages_request(service, *body, true, style);
  if (!request) return call.fail(request.error());
  const ApiResult<PreparedPrompt> prompt = prepare_prompt(service, *request, *call.gone);
  if (!prompt) return call.fail(prompt.error());
  call.respond_json({{"input_tokens", prompt->input.tokens.size()}});
}

}  // namespace lapidary::server
