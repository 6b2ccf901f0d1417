#include "server/responses_writer.h"

#include <algorithm>
#include <utility>

#include "server/openai_json.h"

namespace lapidary::server {
namespace {

Json usage_json(const AnswerResult& result) {
  const Usage usage = result.usage();
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", 0}}},
          {"output_tokens", usage.completion_tokens},
          {"output_tokens_details", {{"reasoning_tokens", result.thought_tokens()}}},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

// Codes that clients know; what is wrong with this server is all one to them.
Json failure_json(const ApiError& error) {
  const bool known = error.kind == ErrorKind::kInvalidRequest || error.kind == ErrorKind::kQueueFull;
  const Json all = error_json(Surface::kOpenAi, error);
  return {{"code", known ? all["error"]["code"] : Json("server_error")}, {"message", error.message}};
}

class ResponsesWriter final : public AnswerWriter {
 public:
  ResponsesWriter(const Tokenizer& tokenizer, ResponsesStore& store, const Call& call, ResponsesWriterOptions options)
      : tokenizer_(tokenizer),
        store_(store),
        call_(call),
        options_(std::move(options)),
        id_(options_.response["id"].get<std::string>()),
        sse_(call_),
        events_(options_.response, options_.style, sink()),
        last_sent_(Clock::now()),
        last_in_progress_(last_sent_) {
    store_.begin(id_, options_.response);
  }
  ~ResponsesWriter() override { store_.end(id_); }

  void begin() override {
    if (!options_.stream) return;
    sse_.begin();
    events_.begin();
  }

  void write(std::span<const AnswerDelta> deltas) override {
    for (const AnswerDelta& delta : deltas) take(delta);
    // Progress of the prompt is not told, and must not keep the stream silent.
    if (options_.stream && AnswerTimes::seconds(last_sent_, Clock::now()) >= keep_alive_seconds()) keep_alive();
  }

  void keep_alive() override {
    if (!options_.stream) return;
    const Clock::time_point now = Clock::now();
    if (!events_.has_items() && AnswerTimes::seconds(last_in_progress_, now) >= options_.in_progress_seconds) {
      last_in_progress_ = now;
      events_.in_progress();
    } else {
      sse_.comment();
    }
    last_sent_ = now;
  }
  double keep_alive_seconds() const override {
    if (!options_.stream) return 0;
    const double comments = options_.keep_alive_seconds;
    if (events_.has_items()) return std::max(comments, 0.0);
    return comments > 0 ? std::min(comments, options_.in_progress_seconds) : options_.in_progress_seconds;
  }

  void finish(const AnswerResult& result) override {
    const AnswerEnd end = result.choices.front().end;
    if (call_ended_ && !(end == AnswerEnd::kLength && is_cut(result.choices.front()))) events_.end_call();
    ResponseEvents::End ending{"completed", nullptr, nullptr, usage_json(result), unix_seconds()};
    if (end == AnswerEnd::kLength) {
      ending.status = "incomplete";
      ending.incomplete_details = {{"reason", "max_output_tokens"}};
    } else if (end == AnswerEnd::kCancelled) {
      ending.status = "cancelled";
    }
    if (ending.status != "completed") ending.completed_at = nullptr;
    close(std::move(ending), !result.cancelled);
    if (options_.stream) {
      sse_.end();
    } else {
      call_.respond_json(events_.response());
    }
  }

  void fail(const ApiError& error) override {
    if (!options_.stream) {
      store_.end(id_);
      return call_.fail(error);
    }
    close({"failed", nullptr, failure_json(error), nullptr, nullptr}, true);
    sse_.end();
  }

 private:
  ResponseEvents::Sink sink() {
    if (!options_.stream) return {};
    return [this](const Json& event, std::string_view type) {
      last_sent_ = Clock::now();
      sse_.event(event, type);
    };
  }

  // A call that the answer's end cut short is read as far as it goes. Nobody should run half a command: it stays
  // incomplete.
  bool is_cut(const ChoiceResult& choice) const {
    return choice.tokens.empty() || choice.tokens.back() != tokenizer_.id_of("<tool_call|>");
  }

  void take(const AnswerDelta& delta) {
    if (std::exchange(call_ended_, false)) events_.end_call();
    const bool call_is_cut = events_.in_call() && delta.kind == AnswerDelta::Kind::kText;
    switch (delta.kind) {
      case AnswerDelta::Kind::kThought:
        return events_.thought(delta.text);
      case AnswerDelta::Kind::kText:
        // A call that was begun and could not be read comes back as text; its client has it already.
        if (!call_is_cut) events_.text(delta.text, logprobs_json(delta.logprobs));
        return;
      case AnswerDelta::Kind::kCallBegun: {
        const auto tool = options_.tools.find(delta.text);
        return events_.begin_call(
            tool == options_.tools.end() ? ResponsesTool{ResponsesToolKind::kFunction, delta.text, ""} : tool->second,
            delta.call_id);
      }
      case AnswerDelta::Kind::kCallArguments:
        return events_.arguments(delta.text);
      case AnswerDelta::Kind::kCall:
        call_ended_ = true;
        return;
      default:
        return;
    }
  }

  Json logprobs_json(const std::vector<TokenLogprob>& entries) const {
    Json list = Json::array();
    if (!options_.logprobs) return list;
    for (const TokenLogprob& entry : entries) list.push_back(chat_logprob_json(tokenizer_, entry, *options_.logprobs));
    return list;
  }

  // Kept, or forgotten, before its end is told: the client may go on from it at once.
  void close(ResponseEvents::End ending, bool keep) {
    if (!keep || !options_.store) {
      store_.end(id_);
      return events_.end(std::move(ending));
    }
    // The last event is sent by end(), which also completes what is to be kept: it waits for that.
    std::vector<std::pair<Json, std::string>> last;
    events_.redirect([&](const Json& event, std::string_view type) { last.emplace_back(event, type); });
    events_.end(std::move(ending));
    StoredResponse stored;
    stored.response = events_.response();
    stored.output = std::make_shared<const ResponseItems>(std::move(stored.response["output"]));
    stored.response["output"] = Json::array();
    stored.input = options_.items;
    stored.steps = events_.steps();
    store_.put(id_, std::move(stored));
    store_.end(id_);
    if (options_.stream) {
      for (const auto& [event, type] : last) sse_.event(event, type);
    }
  }

  const Tokenizer& tokenizer_;
  ResponsesStore& store_;
  Call call_;
  ResponsesWriterOptions options_;
  std::string id_;
  SseStream sse_;
  ResponseEvents events_;
  Clock::time_point last_sent_, last_in_progress_;
  bool call_ended_ = false;  // the last call did, and is told so with what comes next
};

}  // namespace

std::unique_ptr<AnswerWriter> make_responses_writer(const Tokenizer& tokenizer, ResponsesStore& store, const Call& call,
                                                    ResponsesWriterOptions options) {
  return std::make_unique<ResponsesWriter>(tokenizer, store, call, std::move(options));
}

}  // namespace lapidary::server
