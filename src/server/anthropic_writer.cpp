#include "server/anthropic_writer.h"

#include <fmt/format.h>

#include "base/fnv.h"
#include "server/partial_json.h"

namespace lapidary::server {
namespace {

// Opaque to clients, who keep it and send it back; nothing is ever checked against it.
class Signature {
 public:
  void add(std::string_view text) { hash_ = fnv1a(text, hash_); }
  std::string text() const { return fmt::format("{:016x}", hash_); }

 private:
  uint64_t hash_ = kFnvBasis;
};

// The same call under the name that clients of this dialect expect.
std::string tool_use_id(std::string_view call_id) {
  return fmt::format("toolu_{}", call_id.substr(call_id.find('_') + 1));
}

Json usage_json(int32_t prompt_tokens, int32_t cached_tokens, int32_t output_tokens) {
  return {{"input_tokens", prompt_tokens - cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", cached_tokens},
          {"cache_creation", {{"ephemeral_5m_input_tokens", 0}, {"ephemeral_1h_input_tokens", 0}}},
          {"output_tokens", output_tokens},
          {"server_tool_use", nullptr},
          {"service_tier", "standard"}};
}

Json usage_json(const AnswerResult& result) {
  const Usage usage = result.usage();
  Json json = usage_json(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens);
  json["output_tokens_details"] = {{"thinking_tokens", result.thought_tokens()}};
  return json;
}

// A context that is full is max_tokens, too: older clients know no other word for it.
const char* stop_reason(const ChoiceResult& choice) {
  if (choice.end == AnswerEnd::kLength) return "max_tokens";
  if (choice.end == AnswerEnd::kStopString) return "stop_sequence";
  return choice.calls_tools() ? "tool_use" : "end_turn";
}

Json stop_sequence(const ChoiceResult& choice) {
  if (choice.end != AnswerEnd::kStopString) return nullptr;
  return choice.stop_string;
}

// What clients make of the streamed arguments, too.
Json input_of(const CallResult& call) {
  if (!call.complete) return complete_part(call.arguments);
  return call.call.arguments.is_object() ? call.call.arguments : Json::object();
}

class MessagesWriter : public AnswerWriter {
 public:
  MessagesWriter(const Call& call, MessagesWriterOptions options)
      : call_(call), options_(std::move(options)), id_(random_id("msg_")) {}

 protected:
  Json message_json() const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", options_.model},
            {"content", Json::array()},
            {"stop_reason", nullptr},
            {"stop_sequence", nullptr},
            {"stop_details", nullptr},
            {"container", nullptr}};
  }

  Call call_;
  MessagesWriterOptions options_;
  std::string id_;
};

class MessagesCollector final : public MessagesWriter {
 public:
  using MessagesWriter::MessagesWriter;

  void finish(const AnswerResult& result) override {
    const ChoiceResult& choice = result.choices.front();
    Json json = message_json();
    Json& content = json["content"];
    if (!choice.thought.empty()) {
      Signature signature;
      signature.add(choice.thought);
      content.push_back({{"type", "thinking"},
                         {"thinking", options_.style.omit_thinking ? "" : choice.thought},
                         {"signature", signature.text()}});
    }
    if (!choice.text.empty()) content.push_back({{"type", "text"}, {"text", choice.text}, {"citations", nullptr}});
    for (const CallResult& call : choice.calls) {
      content.push_back({{"type", "tool_use"},
                         {"id", tool_use_id(call.id)},
                         {"name", call.call.name},
                         {"input", input_of(call)},
                         {"caller", {{"type", "direct"}}}});
    }
    json["stop_reason"] = stop_reason(choice);
    json["stop_sequence"] = stop_sequence(choice);
    json["usage"] = usage_json(result);
    call_.respond_json(json);
  }
  void fail(const ApiError& error) override { call_.fail(error); }
};

// One block is open at a time; their indices are dense.
class MessagesStreamer final : public MessagesWriter {
 public:
  MessagesStreamer(const Call& call, MessagesWriterOptions options)
      : MessagesWriter(call, std::move(options)), sse_(call_) {}

  void begin() override {
    sse_.begin();
    Json message = message_json();
    // How much of the prompt is remembered shows when it is computed. Until then all of it counts as input; the last
    // usage splits it, and there clients take each number that is not zero for the new one.
    message["usage"] = usage_json(options_.prompt_tokens, 0, 1);
    send("message_start", {{"message", std::move(message)}});
    keep_alive();
  }

  void write(std::span<const AnswerDelta> deltas) override {
    for (const AnswerDelta& delta : deltas) write_delta(delta);
    // What came may be nothing that is said.
    const double period = options_.keep_alive_seconds;
    if (period > 0 && AnswerTimes::seconds(sent_, Clock::now()) >= period) keep_alive();
  }

  void keep_alive() override { send("ping", Json::object()); }
  double keep_alive_seconds() const override { return options_.keep_alive_seconds; }

  void finish(const AnswerResult& result) override {
    close();
    const ChoiceResult& choice = result.choices.front();
    send("message_delta", {{"delta",
                            {{"stop_reason", stop_reason(choice)},
                             {"stop_sequence", stop_sequence(choice)},
                             {"stop_details", nullptr},
                             {"container", nullptr}}},
                           {"usage", usage_json(result)}});
    send("message_stop", Json::object());
    sse_.end();
  }

  void fail(const ApiError& error) override {
    sse_.event(call_.error_object(error), "error");
    sse_.end();
  }

 private:
  enum class Block : uint8_t { kNone, kThinking, kText, kCall };

  void send(const char* type, const Json& fields) {
    Json event = {{"type", type}};
    event.update(fields);
    sse_.event(event, type);
    sent_ = Clock::now();
  }

  void send_delta(const char* type, const char* key, std::string text) {
    send("content_block_delta", {{"index", index_}, {"delta", {{"type", type}, {key, std::move(text)}}}});
  }

  void open(Block block, Json content) {
    close();
    block_ = block;
    send("content_block_start", {{"index", index_}, {"content_block", std::move(content)}});
  }

  void close() {
    if (block_ == Block::kNone) return;
    if (block_ == Block::kThinking) {
      send_delta("signature_delta", "signature", signature_.text());
      signature_ = {};
    }
    send("content_block_stop", {{"index", index_}});
    block_ = Block::kNone;
    ++index_;
  }

  void write_delta(const AnswerDelta& delta) {
    switch (delta.kind) {
      case AnswerDelta::Kind::kThought:
        if (block_ != Block::kThinking)
          open(Block::kThinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
        signature_.add(delta.text);
        if (!options_.style.omit_thinking) send_delta("thinking_delta", "thinking", delta.text);
        break;
      case AnswerDelta::Kind::kText:
        if (block_ != Block::kText) open(Block::kText, {{"type", "text"}, {"text", ""}, {"citations", nullptr}});
        send_delta("text_delta", "text", delta.text);
        break;
      case AnswerDelta::Kind::kCallBegun:
        open(Block::kCall, {{"type", "tool_use"},
                            {"id", tool_use_id(delta.call_id)},
                            {"name", delta.text},
                            {"input", Json::object()},
                            {"caller", {{"type", "direct"}}}});
        break;
      case AnswerDelta::Kind::kCallArguments:
        if (block_ == Block::kCall && !delta.text.empty()) send_delta("input_json_delta", "partial_json", delta.text);
        break;
      case AnswerDelta::Kind::kCall:
        close();
        break;
      case AnswerDelta::Kind::kPromptDone:
      case AnswerDelta::Kind::kPromptScored:
        break;
    }
  }

  SseStream sse_;
  Block block_ = Block::kNone;
  int32_t index_ = 0;
  Signature signature_;
  Clock::time_point sent_{};
};

}  // namespace

std::unique_ptr<AnswerWriter> make_messages_writer(const Call& call, MessagesWriterOptions options) {
  if (options.style.stream) return std::make_unique<MessagesStreamer>(call, std::move(options));
  return std::make_unique<MessagesCollector>(call, std::move(options));
}

}  // namespace lapidary::server
