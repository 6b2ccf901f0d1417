#include "server/openai_completions.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "server/openai_json.h"
#include "server/prepare.h"
#include "server/request_reader.h"
#include "server/sampling_fields.h"

namespace lapidary::server {
namespace {

constexpr size_t kPromptsMax = 128;

struct CompletionStyle {
  bool stream = false, include_usage = false, echo = false;
  std::optional<int32_t> logprobs;
  double keep_alive_seconds = 10;
};

struct TextPrompt {
  std::vector<int32_t> tokens;
  std::string text;  // what echo says
};

int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}, filled entry by entry.
class LogprobLists {
 public:
  LogprobLists(const Tokenizer& tokenizer, int32_t top, int64_t offset)
      : tokenizer_(tokenizer), top_(top), offset_(offset) {}

  void add(int32_t token, std::optional<TokenLogprob> entry) {
    const std::string text = token_text(tokenizer_, token);
    tokens_.push_back(text);
    offsets_.push_back(offset_);
    offset_ += characters(text);
    values_.push_back(entry ? Json(clamped_logprob(entry->logprob)) : Json(nullptr));
    Json best = entry ? Json::object() : Json(nullptr);
    for (size_t i = 0; entry && i < entry->top.size() && i < static_cast<size_t>(top_); ++i)
      best[token_text(tokenizer_, entry->top[i].first)] = clamped_logprob(entry->top[i].second);
    tops_.push_back(std::move(best));
  }
  int64_t offset() const { return offset_; }
  Json json() {
    return {{"tokens", std::move(tokens_)},
            {"token_logprobs", std::move(values_)},
            {"top_logprobs", std::move(tops_)},
            {"text_offset", std::move(offsets_)}};
  }

 private:
  const Tokenizer& tokenizer_;
  int32_t top_;
  int64_t offset_;
  Json tokens_ = Json::array(), values_ = Json::array(), tops_ = Json::array(), offsets_ = Json::array();
};

// The answers to all prompts of one request, as one answer.
class Completions : public std::enable_shared_from_this<Completions> {
 public:
  Completions(const Service& service, const Call& call, std::string model, const CompletionStyle& style,
              std::vector<TextPrompt> prompts, int32_t choices)
      : call_(call),
        tokenizer_(service.tokenizer()),
        model_(std::move(model)),
        fingerprint_(service.card().fingerprint),
        id_(random_id("cmpl-")),
        created_(unix_seconds()),
        measures_{service.options().time_info, service.options().request_metrics},
        style_(style),
        prompts_(std::move(prompts)),
        choices_(choices),
        results_(prompts_.size()),
        offsets_(prompts_.size() * static_cast<size_t>(choices), 0),
        echoed_(prompts_.size() * static_cast<size_t>(choices), false),
        open_(prompts_.size()),
        sse_(call_) {}

  // All are submitted: what came in the meantime is written.
  void begin(std::vector<std::shared_ptr<Answer>> answers) {
    call_.exchange->on_gone([answers = std::move(answers)] {
      for (const auto& answer : answers) answer->cancel();
    });
    const std::lock_guard lock(mutex_);
    begun_ = true;
    if (style_.stream) sse_.begin();
    for (const Json& chunk : early_) sse_.event(chunk);
    early_.clear();
    if (open_ == 0) complete();
  }

  void write(size_t prompt, std::span<const AnswerDelta> deltas) {
    if (!style_.stream) return;
    const std::lock_guard lock(mutex_);
    for (const AnswerDelta& delta : deltas) {
      const size_t index = prompt * static_cast<size_t>(choices_) + static_cast<size_t>(delta.choice);
      if (delta.kind == AnswerDelta::Kind::kPromptScored) {
        scored_ = delta.logprobs;
      } else if (delta.kind == AnswerDelta::Kind::kText) {
        echo_once(prompt, index);
        send(chunk(index, delta.text, lists(index, delta.logprobs), nullptr));
      }
    }
  }

  void finish(size_t prompt, const AnswerResult& result) {
    const std::lock_guard lock(mutex_);
    results_[prompt] = result;
    for (size_t i = 0; style_.stream && i < result.choices.size(); ++i) {
      const size_t index = prompt * static_cast<size_t>(choices_) + i;
      echo_once(prompt, index);
      Json last = chunk(index, "", nullptr, openai_finish_reason(result.choices[i], false));
      last["choices"][0]["stop_reason"] = stop_reason_json(result.choices[i]);
      if (!style_.include_usage && open_ == 1 && i + 1 == result.choices.size())
        write_measures(last, total(), measures_);
      send(std::move(last));
    }
    if (--open_ == 0 && begun_) complete();
  }

  void fail(const ApiError& error) {
    const std::lock_guard lock(mutex_);
    if (failed_) return;
    failed_ = true;
    if (!style_.stream) return call_.fail(error);
    sse_.event(error_json(Surface::kOpenAi, error));
    sse_.end();
  }

  void keep_alive() {
    const std::lock_guard lock(mutex_);
    if (style_.stream && begun_) sse_.comment();
  }
  double keep_alive_seconds() const { return style_.keep_alive_seconds; }

 private:
  Json head() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", created_},
            {"model", model_},
            {"system_fingerprint", fingerprint_}};
  }

  Json chunk(size_t index, const std::string& text, Json logprobs, Json finish_reason) const {
    Json json = head();
    json["choices"] = Json::array();
    json["choices"].push_back({{"index", index},
                               {"text", text},
                               {"logprobs", std::move(logprobs)},
                               {"finish_reason", std::move(finish_reason)}});
    if (style_.include_usage) json["usage"] = nullptr;
    return json;
  }

  void send(Json chunk) {
    if (begun_) return sse_.event(chunk);
    early_.push_back(std::move(chunk));
  }

  Json lists(size_t index, const std::vector<TokenLogprob>& entries) {
    if (!style_.logprobs) return nullptr;
    LogprobLists made(tokenizer_, *style_.logprobs, offsets_[index]);
    for (const TokenLogprob& entry : entries) made.add(entry.token, entry);
    offsets_[index] = made.offset();
    return made.json();
  }

  Json prompt_lists(size_t prompt, size_t index, const std::vector<TokenLogprob>& scored) {
    if (!style_.logprobs) return nullptr;
    LogprobLists made(tokenizer_, *style_.logprobs, offsets_[index]);
    add_prompt(prompt, scored, made);
    offsets_[index] = made.offset();
    return made.json();
  }

  void add_prompt(size_t prompt, const std::vector<TokenLogprob>& scored, LogprobLists& made) const {
    const std::vector<int32_t>& tokens = prompts_[prompt].tokens;
    for (size_t i = 0; i < tokens.size(); ++i) {
      made.add(tokens[i], i > 0 && i <= scored.size() ? std::optional(scored[i - 1]) : std::nullopt);
    }
  }

  void echo_once(size_t prompt, size_t index) {
    if (!style_.echo || echoed_[index]) return;
    echoed_[index] = true;
    send(chunk(index, prompts_[prompt].text, prompt_lists(prompt, index, scored_), nullptr));
  }

  AnswerResult total() const {
    AnswerResult total;
    for (const AnswerResult& result : results_) {
      total.choices.insert(total.choices.end(), result.choices.begin(), result.choices.end());
      if (total.times.arrived == Clock::time_point{}) total.times = result.times;
      total.times.ended = std::max(total.times.ended, result.times.ended);
    }
    return total;
  }

  // Prompts are counted once each, whatever the number of answers to them.
  Json usage_json() const {
    Usage sum;
    for (const AnswerResult& result : results_) {
      const Usage usage = result.usage();
      sum.prompt_tokens += usage.prompt_tokens;
      sum.cached_tokens += usage.cached_tokens;
      sum.completion_tokens += usage.completion_tokens;
    }
    Json json = openai_usage(total());
    json["prompt_tokens"] = sum.prompt_tokens;
    json["completion_tokens"] = sum.completion_tokens;
    json["total_tokens"] = sum.prompt_tokens + sum.completion_tokens;
    json["prompt_tokens_details"]["cached_tokens"] = sum.cached_tokens;
    return json;
  }

  void complete() {
    if (failed_) return;
    call_.exchange->on_gone({});
    if (style_.stream) {
      if (style_.include_usage) {
        Json last = head();
        last["choices"] = Json::array();
        last["usage"] = usage_json();
        write_measures(last, total(), measures_);
        sse_.event(last);
      }
      sse_.text("[DONE]");
      sse_.end();
      return;
    }
    Json json = head();
    Json& list = json["choices"] = Json::array();
    for (size_t prompt = 0; prompt < prompts_.size(); ++prompt) {
      const std::vector<TokenLogprob>& scored = results_[prompt].choices.front().prompt_logprobs;
      for (const ChoiceResult& choice : results_[prompt].choices)
        list.push_back(choice_json(prompt, scored, choice, list.size()));
    }
    json["usage"] = usage_json();
    const AnswerResult all = total();
    write_measures(json, all, measures_);
    call_.headers.emplace_back("Server-Timing", server_timing(all));
    call_.respond_json(json);
  }

  Json choice_json(size_t prompt, const std::vector<TokenLogprob>& scored, const ChoiceResult& choice,
                   size_t index) const {
    Json logprobs = nullptr;
    if (style_.logprobs) {
      LogprobLists made(tokenizer_, *style_.logprobs, 0);
      if (style_.echo) add_prompt(prompt, scored, made);
      for (const TokenLogprob& entry : choice.logprobs) made.add(entry.token, entry);
      logprobs = made.json();
    }
    return {{"index", index},
            {"text", (style_.echo ? prompts_[prompt].text : "") + choice.text},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", openai_finish_reason(choice, false)},
            {"stop_reason", stop_reason_json(choice)}};
  }

  Call call_;
  const Tokenizer& tokenizer_;
  std::string model_, fingerprint_, id_;
  int64_t created_;
  Measures measures_;
  CompletionStyle style_;
  std::vector<TextPrompt> prompts_;
  int32_t choices_;

  std::mutex mutex_;  // guards those below
  std::vector<AnswerResult> results_;
  std::vector<int64_t> offsets_;  // of each choice's text so far, in characters
  std::vector<bool> echoed_;
  std::vector<TokenLogprob> scored_;
  std::vector<Json> early_;
  size_t open_;
  bool begun_ = false, failed_ = false;
  SseStream sse_;
};

class CompletionWriter final : public AnswerWriter {
 public:
  CompletionWriter(std::shared_ptr<Completions> all, size_t prompt) : all_(std::move(all)), prompt_(prompt) {}
  void write(std::span<const AnswerDelta> deltas) override { all_->write(prompt_, deltas); }
  void keep_alive() override { all_->keep_alive(); }
  double keep_alive_seconds() const override { return prompt_ == 0 ? all_->keep_alive_seconds() : 0; }
  void finish(const AnswerResult& result) override { all_->finish(prompt_, result); }
  void fail(const ApiError& error) override { all_->fail(error); }

 private:
  std::shared_ptr<Completions> all_;
  size_t prompt_;
};

bool is_token_list(const Json& json) {
  return json.is_array() && !json.empty() &&
         std::all_of(json.begin(), json.end(), [](const Json& each) { return each.is_number_integer(); });
}

void add_tokens(const Service& service, const RequestReader& reader, const Json& list,
                std::vector<TextPrompt>& prompts) {
  TextPrompt prompt;
  for (const Json& id : list) {
    const int64_t token = id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX ? -1 : id.get<int64_t>();
    if (token < 0 || token >= service.card().vocab)
      return reader.fail_value(
          "prompt", fmt::format("expected token ids below {}, found {}", service.card().vocab, dump_json(id)));
    prompt.tokens.push_back(static_cast<int32_t>(token));
  }
  prompt.text = service.tokenizer().decode(prompt.tokens);
  prompts.push_back(std::move(prompt));
}

void add_text(Service& service, const std::string& text, bool add_bos, std::vector<TextPrompt>& prompts) {
  TextPrompt prompt{service.tokenizer().encode(text, SpecialTokens::kRecognise), text};
  const int32_t bos = service.engine().engine().model().config().bos_id;
  // A prompt that brings its own must not get two.
  if (add_bos && (prompt.tokens.empty() || prompt.tokens.front() != bos))
    prompt.tokens.insert(prompt.tokens.begin(), bos);
  prompts.push_back(std::move(prompt));
}

// A string, strings, token ids, or lists of token ids.
std::vector<TextPrompt> read_prompts(Service& service, const RequestReader& reader) {
  std::vector<TextPrompt> prompts;
  const Json* prompt = reader.required("prompt");
  if (!prompt) return prompts;
  const bool add_bos = reader.boolean("add_special_tokens").value_or(true);
  if (prompt->is_string()) {
    add_text(service, prompt->get<std::string>(), add_bos, prompts);
  } else if (is_token_list(*prompt)) {
    add_tokens(service, reader, *prompt, prompts);
  } else if (!prompt->is_array() || prompt->empty()) {
    reader.ignore_type("prompt", "a string, strings, token ids or lists of token ids", false);
  } else if (prompt->size() > kPromptsMax) {
    reader.fail_value("prompt", fmt::format("expected at most {} prompts, found {}", kPromptsMax, prompt->size()));
  } else {
    for (const Json& each : *prompt) {
      if (each.is_string()) {
        add_text(service, each.get<std::string>(), add_bos, prompts);
      } else if (is_token_list(each)) {
        add_tokens(service, reader, each, prompts);
      } else {
        reader.ignore_type("prompt", "a string, strings, token ids or lists of token ids", false);
      }
    }
  }
  for (const TextPrompt& each : prompts) {
    if (each.tokens.empty()) reader.fail_value("prompt", "expected at least one token, found an empty prompt");
  }
  return prompts;
}

void read_style(const Service& service, const RequestReader& reader, CompletionStyle& style, ChatRequest& request) {
  style.stream = reader.boolean("stream").value_or(false);
  if (reader.has("stream_options") && !style.stream) reader.fail_value("stream_options", "only with stream: true");
  style.include_usage = reader.inside("stream_options").boolean("include_usage").value_or(false);
  style.echo = reader.boolean("echo").value_or(false);
  style.keep_alive_seconds =
      reader.number("sse_ping_interval", -1, 3600).value_or(service.options().keep_alive_seconds);
  // vLLM's clients send a number, llama-server's and some others' true.
  const Json* logprobs = reader.find("logprobs");
  if (logprobs && logprobs->is_boolean()) {
    if (logprobs->get<bool>()) style.logprobs = 0;
  } else if (const auto top = reader.integer("logprobs", 0, 20)) {
    style.logprobs = static_cast<int32_t>(*top);
  }
  request.logprobs = style.logprobs;
  request.prompt_logprobs = style.echo && style.logprobs;
}

void refuse_unsupported(const RequestReader& reader) {
  if (const auto suffix = reader.string("suffix"); suffix && !suffix->empty())
    reader.fail(bad_request("unsupported_parameter", "suffix", "suffix: the model does not fill gaps"));
  const auto best = reader.integer("best_of", 1, INT32_MAX);
  if (best && *best > reader.integer("n", 1, INT32_MAX).value_or(1))
    reader.fail(bad_request("unsupported_parameter", "best_of", "best_of: more than n is not supported"));
}

}  // namespace

void handle_completions(Service& service, const Call& call) {
  const ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  std::optional<ApiError> error;
  const RequestReader reader(*body, "", error);
  ChatRequest request;
  request.model = reader.string("model").value_or("");
  if (auto unknown = service.check_model(call.surface, request.model)) return call.fail(*unknown);
  default_sampling(service, request);
  request.tokens_max = 16;
  CompletionStyle style;
  refuse_unsupported(reader);
  read_sampling(service, reader, request);
  read_tokens_max(reader, 0, request);
  read_format(reader, request);
  read_style(service, reader, style, request);
  std::vector<TextPrompt> prompts = read_prompts(service, reader);
  if (error) return call.fail(*error);

  std::vector<AnswerRequest> answers;
  for (const TextPrompt& prompt : prompts) {
    ApiResult<AnswerRequest> answer = prepare_text(service, call.surface, request, prompt.tokens, "prompt");
    if (!answer) return call.fail(answer.error());
    answer->arrived = call.arrived;
    answers.push_back(std::move(*answer));
  }
  const auto all =
      std::make_shared<Completions>(service, call, request.model.empty() ? service.card().id : request.model, style,
                                    std::move(prompts), request.choices);
  std::vector<std::shared_ptr<Answer>> started;
  for (size_t i = 0; i < answers.size(); ++i) {
    auto answer = service.start(std::move(answers[i]), nullptr, std::make_unique<CompletionWriter>(all, i));
    if (!answer) {
      for (const auto& each : started) each->cancel();
      return call.fail(answer.error());
    }
    started.push_back(std::move(*answer));
  }
  all->begin(std::move(started));
}

}  // namespace lapidary::server
