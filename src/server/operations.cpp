#include "server/operations.h"

#include <fmt/format.h>

#include <cmath>

#include "base/limits.h"
#include "base/utf8.h"
#include "ops/batch.h"
#include "prompt/media_shelf.h"
#include "server/openai_chat.h"
#include "server/openai_json.h"
#include "server/prepare.h"
#include "server/request_reader.h"

namespace lapidary::server {
namespace {

constexpr double kSilenceSecondsMax = 30;  // of the engine's thread, before it counts as dead

// llama-server: the piece as text, or as bytes when it is none.
Json piece_json(const Tokenizer& tokenizer, int32_t token) {
  const std::string bytes =
      tokenizer.is_special(token) ? std::string(tokenizer.piece(token)) : tokenizer.bytes_of(token);
  if (utf8_valid(bytes)) return bytes;
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

void tokenize_content(Service& service, const Call& call, const RequestReader& reader, const std::string& content) {
  const bool add = reader.boolean("add_special").value_or(false),
             parse = reader.boolean("parse_special").value_or(true),
             pieces = reader.boolean("with_pieces").value_or(false);
  const Tokenizer& tokenizer = service.tokenizer();
  std::vector<int32_t> ids = tokenizer.encode(content, parse ? SpecialTokens::kRecognise : SpecialTokens::kAsText);
  if (add) ids.insert(ids.begin(), service.engine().engine().model().config().bos_id);
  if (!pieces) return call.respond_json({{"tokens", ids}});
  Json list = Json::array();
  for (const int32_t id : ids) list.push_back({{"id", id}, {"piece", piece_json(tokenizer, id)}});
  call.respond_json({{"tokens", std::move(list)}});
}

// vLLM: a prompt or messages.
void tokenize_prompt(Service& service, const Call& call, const RequestReader& reader, const Json& body) {
  std::vector<int32_t> ids;
  if (reader.has("messages")) {
    ChatStyle style;
    const ApiResult<ChatRequest> request = read_chat_request(service, body, style);
    if (!request) return call.fail(request.error());
    ChatRequest wanted = *request;
    wanted.conversation.add_generation_prompt = reader.boolean("add_generation_prompt").value_or(true);
    ApiResult<PreparedPrompt> prompt = prepare_prompt(service, wanted, *call.gone);
    if (!prompt) return call.fail(prompt.error());
    ids = std::move(prompt->input.tokens);
  } else {
    ids = service.tokenizer().encode(reader.required_string("prompt"), SpecialTokens::kRecognise);
    if (reader.boolean("add_special_tokens").value_or(true))
      ids.insert(ids.begin(), service.engine().engine().model().config().bos_id);
  }
  Json json = {
      {"count", ids.size()}, {"max_model_len", service.card().context}, {"tokens", ids}, {"token_strs", nullptr}};
  if (reader.boolean("return_token_strs").value_or(false)) {
    json["token_strs"] = Json::array();
    for (const int32_t id : ids) json["token_strs"].push_back(token_text(service.tokenizer(), id));
  }
  call.respond_json(json);
}

}  // namespace

void handle_health(Service& service, const Call& call) {
  if (service.engine().silent_seconds() > kSilenceSecondsMax)
    return call.fail({ErrorKind::kInternal, "", "the engine does not answer"});
  if (service.draining()) return call.fail({ErrorKind::kUnavailable, "", "the server is shutting down", "", 5});
  call.respond_json({{"status", "ok"}});
}

void handle_live(Service& service, const Call& call) {
  if (service.engine().silent_seconds() > kSilenceSecondsMax)
    return call.fail({ErrorKind::kInternal, "", "the engine does not answer"});
  call.respond_json({{"status", "ok"}});
}

void handle_version(Service&, const Call& call) { call.respond_json({{"version", LAPIDARY_VERSION}}); }

void handle_load(Service& service, const Call& call) {
  const EngineStatus status = service.engine().engine().status();
  call.respond_json({{"server_load", status.running + status.waiting}});
}

void handle_props(Service& service, const Call& call) {
  const ModelCard& card = service.card();
  const GenerationDefaults& defaults = service.defaults();
  const EngineOptions& engine = service.engine().engine().options();
  call.respond_json({{"default_generation_settings",
                      {{"n_ctx", card.context},
                       {"params",
                        {{"temperature", defaults.temperature},
                         {"top_k", defaults.top_k},
                         {"top_p", defaults.top_p},
                         {"min_p", defaults.min_p},
                         {"samplers", {"penalties", "temperature", "top_k", "top_p", "min_p"}}}}}},
                     {"total_slots", engine.sequences_max},
                     {"model_path", service.engine().engine().model().dir().path.filename().string()},
                     {"model_alias", card.id},
                     {"chat_template", card.chat_template},
                     {"chat_template_caps", {{"supports_tools", true}, {"supports_thinking", true}}},
                     {"modalities", {{"vision", card.sees}, {"audio", card.hears}, {"video", card.sees}}},
                     {"build_info", "lapidary " LAPIDARY_VERSION},
                     {"is_sleeping", false}});
}

void handle_tokenize(Service& service, const Call& call) {
  const ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  std::optional<ApiError> error;
  const RequestReader reader(*body, "", error);
  if (const auto content = reader.string("content")) return tokenize_content(service, call, reader, *content);
  if (!error && !reader.has("messages")) reader.required_string("prompt");
  if (error) return call.fail(*error);
  tokenize_prompt(service, call, reader, *body);
}

void handle_detokenize(Service& service, const Call& call) {
  const ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  std::optional<ApiError> error;
  const RequestReader reader(*body, "", error);
  std::vector<int32_t> ids;
  const Json* tokens = reader.required("tokens") ? reader.array("tokens") : nullptr;
  for (size_t i = 0; tokens && i < tokens->size() && !error; ++i) {
    const Json& id = (*tokens)[i];
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= service.card().vocab) {
      reader.fail_value(fmt::format("tokens[{}]", i), fmt::format("expected a token id below {}, found {}",
                                                                  service.card().vocab, dump_json(id).substr(0, 40)));
    } else {
      ids.push_back(id.get<int32_t>());
    }
  }
  if (error) return call.fail(*error);
  const std::string text = service.tokenizer().decode(ids);
  call.respond_json({{"content", text}, {"prompt", text}});
}

void handle_metrics(Service& service, const Call& call) {
  if (!service.options().metrics)
    return call.fail({ErrorKind::kNotSupported, "", "metrics are switched off on this server (--no-metrics)"});
  const Engine& engine = service.engine().engine();
  MetricsContext context;
  context.model = service.card().id;
  context.page_positions = kPagePositions;
  context.global_pages = engine.memory().global_pages;
  context.sequences_max = engine.options().sequences_max;
  context.engine = engine.status();
  call.respond_text(service.metrics().text(context), "text/plain; version=0.0.4; charset=utf-8");
}

void handle_embeddings(Service& service, const Call& call) {
  call.fail({ErrorKind::kNotSupported, "unsupported_endpoint",
             fmt::format("{} is a chat model and gives no embeddings; run a server with an embedding model for that",
                         service.card().id)});
}

void handle_switched_off(Service&, const Call& call) {
  call.fail({ErrorKind::kNotSupported, "", fmt::format("{} is not offered by this server", call.handler)});
}

}  // namespace lapidary::server
