#include "server/openai_chat_writer.h"

#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

class ChatWriter : public AnswerWriter {
 public:
  ChatWriter(const Service& service, const Call& call, ChatWriterOptions options)
      : call_(call),
        tokenizer_(service.tokenizer()),
        options_(std::move(options)),
        id_(random_id("chatcmpl-")),
        created_(unix_seconds()) {}

 protected:
  Json head(const char* object) const {
    return {{"id", id_},
            {"object", object},
            {"created", created_},
            {"model", options_.model},
            {"system_fingerprint", options_.fingerprint}};
  }
  Json logprobs_json(const std::vector<TokenLogprob>& entries) const {
    if (!options_.logprobs) return nullptr;
    Json content = Json::array();
    for (const TokenLogprob& entry : entries)
      content.push_back(chat_logprob_json(tokenizer_, entry, *options_.logprobs));
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }
  Json usage_json(const AnswerResult& result) const {
    Json usage = openai_usage(result);
    if (!options_.image_budgets.empty()) usage["prompt_tokens_details"]["image_budgets"] = options_.image_budgets;
    return usage;
  }
  bool is_custom(const std::string& name) const { return options_.custom_tools.contains(name); }
  bool shows_reasoning() const {
    return options_.style.reasoning == ReasoningFormat::kSeparate || options_.style.reasoning == ReasoningFormat::kBoth;
  }

  Call call_;
  const Tokenizer& tokenizer_;
  ChatWriterOptions options_;
  std::string id_;
  int64_t created_;
};

class ChatCollector final : public ChatWriter {
 public:
  using ChatWriter::ChatWriter;

  void finish(const AnswerResult& result) override {
    Json json = head("chat.completion");
    json["service_tier"] = "default";
    json["choices"] = Json::array();
    for (size_t i = 0; i < result.choices.size(); ++i) json["choices"].push_back(choice_json(result.choices[i], i));
    json["usage"] = usage_json(result);
    write_measures(json, result, options_.measures);
    call_.headers.emplace_back("Server-Timing", server_timing(result));
    call_.respond_json(json);
  }
  void fail(const ApiError& error) override { call_.fail(error); }

 private:
  Json choice_json(const ChoiceResult& choice, size_t index) const {
    Json message = {{"role", "assistant"}, {"content", nullptr}, {"refusal", nullptr}};
    std::string content = choice.text;
    if (options_.style.reasoning == ReasoningFormat::kBoth && !choice.thought.empty())
      content = "<think>" + choice.thought + "</think>" + content;
    if (!content.empty() || choice.calls.empty()) message["content"] = content;
    // A thought that nothing follows is no answer.
    if (content.empty() && !choice.thought.empty()) message["content"] = nullptr;
    if (shows_reasoning() && !choice.thought.empty()) {
      message["reasoning_content"] = choice.thought;
      message["reasoning"] = choice.thought;
    }
    if (!choice.calls.empty()) add_calls(choice, message);
    Json json = {{"index", index},
                 {"message", std::move(message)},
                 {"logprobs", logprobs_json(choice.logprobs)},
                 {"finish_reason", openai_finish_reason(choice, options_.legacy_functions)},
                 {"stop_reason", stop_reason_json(choice)}};
    if (options_.style.return_tokens) json["tokens"] = choice.tokens;
    return json;
  }

  void add_calls(const ChoiceResult& choice, Json& message) const {
    if (options_.legacy_functions) {
      const ToolCall& call = choice.calls.front().call;
      message["function_call"] = {{"name", call.name}, {"arguments", choice.calls.front().arguments}};
      return;
    }
    Json& calls = message["tool_calls"] = Json::array();
    for (const CallResult& each : choice.calls) {
      const ToolCall& call = each.call;
      if (is_custom(call.name)) {
        calls.push_back(
            {{"id", each.id}, {"type", "custom"}, {"custom", {{"name", call.name}, {"input", custom_input(call)}}}});
      } else {
        calls.push_back({{"id", each.id},
                         {"type", "function"},
                         {"function", {{"name", call.name}, {"arguments", each.arguments}}}});
      }
    }
  }
};

class ChatStreamer final : public ChatWriter {
 public:
  ChatStreamer(const Service& service, const Call& call, ChatWriterOptions options)
      : ChatWriter(service, call, std::move(options)),
        sse_(call_),
        completion_(static_cast<size_t>(options_.choices)),
        custom_(static_cast<size_t>(options_.choices)) {}

  void begin() override {
    sse_.begin();
    for (int32_t i = 0; i < options_.choices; ++i) send(i, {{"role", "assistant"}, {"content", ""}});
  }

  void write(std::span<const AnswerDelta> deltas) override {
    for (const AnswerDelta& delta : deltas) {
      completion_[static_cast<size_t>(delta.choice)] = delta.completion_tokens;
      write_delta(delta);
    }
  }

  void keep_alive() override { sse_.comment(); }
  double keep_alive_seconds() const override { return options_.style.keep_alive_seconds; }

  void finish(const AnswerResult& result) override {
    for (size_t i = 0; i < result.choices.size(); ++i) {
      const ChoiceResult& choice = result.choices[i];
      completion_[i] = choice.usage.completion_tokens;
      if (custom_[i] && !choice.calls.empty() && !choice.calls.back().complete) cut_custom_call(i, choice.calls);
      Json chunk = chunk_json(static_cast<int32_t>(i), Json::object());
      chunk["choices"][0]["finish_reason"] = openai_finish_reason(choice, options_.legacy_functions);
      chunk["choices"][0]["stop_reason"] = stop_reason_json(choice);
      if (options_.style.return_tokens) chunk["choices"][0]["tokens"] = choice.tokens;
      if (!options_.style.include_usage && i + 1 == result.choices.size())
        write_measures(chunk, result, options_.measures);
      sse_.event(chunk);
    }
    if (options_.style.include_usage) {
      Json chunk = head("chat.completion.chunk");
      chunk["choices"] = Json::array();
      chunk["usage"] = usage_json(result);
      write_measures(chunk, result, options_.measures);
      sse_.event(chunk);
    }
    sse_.text("[DONE]");
    sse_.end();
  }

  void fail(const ApiError& error) override {
    sse_.event(error_json(Surface::kOpenAi, error));
    sse_.end();
  }

 private:
  Json chunk_json(int32_t choice, Json delta) const {
    Json chunk = head("chat.completion.chunk");
    Json entry = {{"index", choice}, {"delta", std::move(delta)}};
    if (options_.logprobs) entry["logprobs"] = nullptr;
    entry["finish_reason"] = nullptr;
    chunk["choices"] = Json::array();
    chunk["choices"].push_back(std::move(entry));
    if (options_.style.continuous_usage) {
      int32_t completion = 0;
      for (const int32_t tokens : completion_) completion += tokens;
      chunk["usage"] = {{"prompt_tokens", options_.prompt_tokens},
                        {"completion_tokens", completion},
                        {"total_tokens", options_.prompt_tokens + completion}};
    } else if (options_.style.include_usage) {
      chunk["usage"] = nullptr;
    }
    return chunk;
  }

  void send(int32_t choice, Json delta) { sse_.event(chunk_json(choice, std::move(delta))); }

  void write_delta(const AnswerDelta& delta) {
    switch (delta.kind) {
      case AnswerDelta::Kind::kThought:
        if (shows_reasoning()) send(delta.choice, {{"reasoning_content", delta.text}, {"reasoning", delta.text}});
        break;
      case AnswerDelta::Kind::kText: {
        Json chunk = chunk_json(delta.choice, {{"content", delta.text}});
        if (options_.logprobs) chunk["choices"][0]["logprobs"] = logprobs_json(delta.logprobs);
        if (options_.style.timings_per_token)
          chunk["timings"] = {{"predicted_n", delta.completion_tokens}, {"prompt_n", options_.prompt_tokens}};
        sse_.event(chunk);
        break;
      }
      case AnswerDelta::Kind::kCallBegun:
        custom_[static_cast<size_t>(delta.choice)] = is_custom(delta.text);
        begin_call(delta);
        break;
      case AnswerDelta::Kind::kCallArguments:
        // Free text is a string inside the arguments: it is known when they are.
        if (!custom_[static_cast<size_t>(delta.choice)]) call_arguments(delta);
        break;
      case AnswerDelta::Kind::kCall:
        if (custom_[static_cast<size_t>(delta.choice)])
          send_call(delta, {{"index", delta.call_index}, {"custom", {{"input", custom_input(delta.call)}}}});
        break;
      case AnswerDelta::Kind::kPromptDone:
        if (options_.style.progress) progress(delta);
        break;
      case AnswerDelta::Kind::kPromptScored:
        break;
    }
  }

  void send_call(const AnswerDelta& delta, Json call) {
    Json calls = Json::array();
    calls.push_back(std::move(call));
    send(delta.choice, {{"tool_calls", std::move(calls)}});
  }

  // The text of a custom tool's call as far as it came.
  void cut_custom_call(size_t choice, const std::vector<CallResult>& calls) {
    AnswerDelta delta;
    delta.choice = static_cast<int32_t>(choice);
    send_call(delta, {{"index", calls.size() - 1}, {"custom", {{"input", custom_input(calls.back().call)}}}});
  }

  void begin_call(const AnswerDelta& delta) {
    if (options_.legacy_functions) {
      send(delta.choice, {{"function_call", {{"name", delta.text}, {"arguments", ""}}}});
      return;
    }
    const bool custom = is_custom(delta.text);
    Json call = {{"index", delta.call_index}, {"id", delta.call_id}, {"type", custom ? "custom" : "function"}};
    if (custom) {
      call["custom"] = {{"name", delta.text}, {"input", ""}};
    } else {
      call["function"] = {{"name", delta.text}, {"arguments", ""}};
    }
    send_call(delta, std::move(call));
  }

  void call_arguments(const AnswerDelta& delta) {
    if (delta.text.empty()) return;
    if (options_.legacy_functions) {
      send(delta.choice, {{"function_call", {{"arguments", delta.text}}}});
    } else {
      send_call(delta, {{"index", delta.call_index}, {"function", {{"arguments", delta.text}}}});
    }
  }

  void progress(const AnswerDelta& delta) {
    Json chunk = chunk_json(delta.choice, Json::object());
    chunk["prompt_progress"] = {{"total", options_.prompt_tokens},
                                {"cache", 0},
                                {"processed", delta.prompt_done},
                                {"time_ms", AnswerTimes::seconds(call_.arrived, Clock::now()) * 1000}};
    sse_.event(chunk);
  }

  SseStream sse_;
  std::vector<int32_t> completion_;
  std::vector<bool> custom_;  // the call being written is of a custom tool
};

}  // namespace

std::unique_ptr<AnswerWriter> make_chat_writer(const Service& service, const Call& call, ChatWriterOptions options) {
  if (options.style.stream) return std::make_unique<ChatStreamer>(service, call, std::move(options));
  return std::make_unique<ChatCollector>(service, call, std::move(options));
}

}  // namespace lapidary::server
