#include "server/ollama_writer.h"

#include <algorithm>
#include <cmath>

#include "server/openai_json.h"

namespace lapidary::server {
namespace {

constexpr double kNsPerMs = 1e6, kNsPerSecond = 1e9;

int64_t rounded(double ns) { return std::llround(ns); }

Json call_json(const std::string& id, int32_t index, const ToolCall& call) {
  return {{"id", id},
          {"function",
           {{"index", index},
            {"name", call.name},
            {"arguments", call.arguments.is_object() ? call.arguments : Json::object()}}}};
}

class OllamaWriter : public AnswerWriter {
 public:
  OllamaWriter(const Service& service, const Call& call, OllamaWriterOptions options)
      : call_(call), tokenizer_(service.tokenizer()), options_(std::move(options)) {}

 protected:
  // Where content, thinking and calls stand.
  Json& holder(Json& object) const { return options_.generate ? object : object["message"]; }
  const char* text_key() const { return options_.generate ? "response" : "content"; }

  Json logprobs_json(const std::vector<TokenLogprob>& entries) const {
    Json list = Json::array();
    for (const TokenLogprob& entry : entries) {
      list.push_back(chat_logprob_json(tokenizer_, entry, *options_.logprobs));
      if (*options_.logprobs == 0) list.back().erase("top_logprobs");
    }
    return list;
  }

  void add_counters(const AnswerResult& result, Json& object) const {
    const ChoiceResult& choice = result.choices.front();
    const Usage usage = result.usage();
    object["done_reason"] = choice.end == AnswerEnd::kLength ? "length" : "stop";
    object["total_duration"] = rounded(result.times.total_s() * kNsPerSecond);
    object["load_duration"] = 0;  // the model is there before the port answers
    object["prompt_eval_count"] = usage.prompt_tokens;
    object["prompt_eval_duration"] = rounded((choice.timing.media_ms + choice.timing.prefill_ms) * kNsPerMs);
    object["eval_count"] = usage.completion_tokens;
    // Clients divide by it.
    object["eval_duration"] = std::max<int64_t>(1, rounded(choice.timing.decode_ms * kNsPerMs));
  }

  Call call_;
  const Tokenizer& tokenizer_;
  OllamaWriterOptions options_;
};

class OllamaCollector final : public OllamaWriter {
 public:
  using OllamaWriter::OllamaWriter;

  void finish(const AnswerResult& result) override {
    const ChoiceResult& choice = result.choices.front();
    Json object = ollama_object(options_, true);
    Json& said = holder(object);
    said[text_key()] = choice.text;
    if (!choice.thought.empty()) said["thinking"] = choice.thought;
    // Clients of this dialect run what they see, whatever done_reason says: a call that was cut is left out.
    for (size_t i = 0; i < choice.calls.size(); ++i) {
      if (!choice.calls[i].complete) continue;
      said["tool_calls"].push_back(call_json(choice.calls[i].id, static_cast<int32_t>(i), choice.calls[i].call));
    }
    add_counters(result, object);
    if (options_.logprobs) object["logprobs"] = logprobs_json(choice.logprobs);
    call_.respond_json(object);
  }
  void fail(const ApiError& error) override { call_.fail(error); }
};

class OllamaStreamer final : public OllamaWriter {
 public:
  OllamaStreamer(const Service& service, const Call& call, OllamaWriterOptions options)
      : OllamaWriter(service, call, std::move(options)), lines_(call_) {}

  void begin() override {
    lines_.begin();
    sent_ = Clock::now();
  }

  void write(std::span<const AnswerDelta> deltas) override {
    for (const AnswerDelta& delta : deltas) {
      Json object = ollama_object(options_, false);
      Json& said = holder(object);
      if (delta.kind == AnswerDelta::Kind::kThought) {
        said["thinking"] = delta.text;
      } else if (delta.kind == AnswerDelta::Kind::kText) {
        said[text_key()] = delta.text;
        if (options_.logprobs) object["logprobs"] = logprobs_json(delta.logprobs);
      } else if (delta.kind == AnswerDelta::Kind::kCall) {
        said["tool_calls"].push_back(call_json(delta.call_id, delta.call_index, delta.call));
      } else {
        continue;  // calls are told when they are complete
      }
      send(object);
    }
    // A long call says nothing until it is complete.
    const double period = options_.keep_alive_seconds;
    if (period > 0 && AnswerTimes::seconds(sent_, Clock::now()) >= period) keep_alive();
  }

  void keep_alive() override { send(ollama_object(options_, false)); }
  double keep_alive_seconds() const override { return options_.keep_alive_seconds; }

  void finish(const AnswerResult& result) override {
    Json object = ollama_object(options_, true);
    add_counters(result, object);
    lines_.line(object);
    lines_.end();
  }

  void fail(const ApiError& error) override {
    lines_.line(call_.error_object(error));
    lines_.end();
  }

 private:
  void send(const Json& object) {
    lines_.line(object);
    sent_ = Clock::now();
  }

  NdjsonStream lines_;
  Clock::time_point sent_{};
};

}  // namespace

Json ollama_object(const OllamaWriterOptions& options, bool done) {
  Json object = {{"model", options.model}, {"created_at", rfc3339_now()}};
  if (options.generate) {
    object["response"] = "";
  } else {
    object["message"] = {{"role", "assistant"}, {"content", ""}};
  }
  object["done"] = done;
  return object;
}

std::unique_ptr<AnswerWriter> make_ollama_writer(const Service& service, const Call& call,
                                                 OllamaWriterOptions options) {
  if (options.stream) return std::make_unique<OllamaStreamer>(service, call, std::move(options));
  return std::make_unique<OllamaCollector>(service, call, std::move(options));
}

}  // namespace lapidary::server
