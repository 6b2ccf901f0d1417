// ReplyPrinter: events of one request become a reply (thought, text, tool calls), printed as it arrives if asked.
#pragma once

#include <string>
#include <vector>

#include "chat/reply_reader.h"
#include "engine/engine.h"
#include "text/stop_strings.h"

namespace lapidary::cli {

class ReplyPrinter {
 public:
  struct Options {
    bool chat = true;           // the reply has the model's format; else all of it is text
    bool thought_open = false;  // it begins inside a thought
    bool print = false;         // text to stdout as it comes, thoughts dimmed to stderr, calls as lines
    bool print_calls = true;    // among it
    std::vector<std::string> stop;
  };
  ReplyPrinter(const Tokenizer& tokenizer, Options options);

  void take(const Event& event);

  const Reply& reply() const { return reply_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  const std::vector<TokenLogprob>& logprobs() const { return logprobs_; }
  const Event& last() const { return last_; }
  bool reader_gone() const { return reader_gone_; }  // nobody reads stdout any more
  std::string finish_reason() const;                 // "stop", "length", "tool_calls", "cancelled"

 private:
  void handle(const std::vector<ReplyEvent>& events);
  void text(const std::string& more);
  void out(std::string_view more);

  Options options_;
  ReplyReader reader_;
  StopStrings stops_;
  Reply reply_;
  std::vector<int32_t> tokens_;
  std::vector<TokenLogprob> logprobs_;
  Event last_;
  bool thinking_ = false;   // a thought is being printed
  bool line_open_ = false;  // stdout does not stand at the beginning of a line
  bool reader_gone_ = false;
};

// "get_weather({"city":"Paris"})"
std::string call_text(const ToolCall& call);

}  // namespace lapidary::cli
