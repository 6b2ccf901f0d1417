// One choice of an answer: the engine's events in, what a client is told out. Runs on the engine's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "chat/reply_reader.h"
#include "engine/request.h"
#include "text/stop_strings.h"
#include "text/text_stream.h"
#include "text/tokenizer.h"

namespace lapidary::server {

struct AnswerDelta {
  enum class Kind : uint8_t {
    kThought,        // text
    kText,           // text, with the log-probabilities of its tokens when asked for
    kCallBegun,      // call_index, call_id, text: the name
    kCallArguments,  // call_index, text: a fragment of the arguments' JSON
    kCall,          // call_index, call_id, call: complete; its fragments were all sent. None follows a call that is cut
    kPromptDone,    // prompt_done positions of the prompt are computed
    kPromptScored,  // logprobs of the prompt's tokens from the second on, before any text
  };
  Kind kind = Kind::kText;
  int32_t choice = 0;
  std::string text;
  std::vector<TokenLogprob> logprobs;
  int32_t call_index = 0;
  std::string call_id;
  ToolCall call;
  int32_t prompt_done = 0;
  int32_t completion_tokens = 0;  // of the choice, so far
};

enum class AnswerEnd : uint8_t { kNone, kStop, kStopString, kLength, kRepetition, kCancelled };

struct CallResult {
  std::string id;
  ToolCall call;
  std::string arguments;  // JSON text, as streams send it: cut where an answer is cut
  bool complete = false;  // else the answer ended inside it; call is what could be made of it, and nobody should run it
};

// A choice so far, and in the end.
struct ChoiceResult {
  std::string thought, text;
  std::vector<CallResult> calls;
  std::vector<TokenLogprob> logprobs;         // of the tokens of text
  std::vector<TokenLogprob> prompt_logprobs;  // when asked for, of the first choice
  std::vector<int32_t> tokens;                // without the one that ended the answer
  AnswerEnd end = AnswerEnd::kNone;
  std::string stop_string;            // of kStopString
  std::optional<int32_t> stop_token;  // of kStop, when the request named it
  int32_t thought_tokens = 0;
  Usage usage;
  Timing timing;
  std::optional<SpeculationReport> speculation;

  // There is a complete call.
  bool calls_tools() const {
    return std::any_of(calls.begin(), calls.end(), [](const CallResult& call) { return call.complete; });
  }
};

struct ChoiceOptions {
  bool chat = true;  // the reply has the model's format; else it is text as it comes
  bool thought_open = false;
  bool goes_on = false;      // past the model's own end
  bool show_thought = true;  // else thoughts are counted and dropped
  bool raw = false;          // everything is text, markers included
  bool include_stop = false;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_tokens;  // that the request named
};

class ChoiceReader {
 public:
  // The tokenizer outlives the reader.
  ChoiceReader(const Tokenizer& tokenizer, const ChoiceOptions& options, int32_t choice);

  // Appends what became known. After a stop string everything that follows is ignored.
  void take(const Event& event, std::vector<AnswerDelta>& deltas);
  // A stop string was found, or the answer ended: the engine may stop.
  bool stopped() const { return result_.end != AnswerEnd::kNone; }
  bool finished() const { return finished_; }
  const ChoiceResult& result() const { return result_; }
  ChoiceResult& result() { return result_; }

 private:
  void token(const Event& event, size_t index, std::vector<AnswerDelta>& deltas);
  // cut: the answer ended here, and not by itself.
  void take_reply(const std::vector<ReplyEvent>& events, bool cut, std::vector<AnswerDelta>& deltas);
  void content(std::string_view more, std::vector<AnswerDelta>& deltas);
  void emit_prompt_logprobs(std::vector<AnswerDelta>& deltas);
  void emit_text(std::string text, std::vector<AnswerDelta>& deltas);
  void attach_logprobs(AnswerDelta& delta);
  void begin_call(std::vector<AnswerDelta>& deltas);
  void finish(const Event& event, std::vector<AnswerDelta>& deltas);

  const Tokenizer* tokenizer_;
  ChoiceOptions options_;
  int32_t choice_;
  ReplyReader reader_;
  TextStream stream_;  // of replies without a format
  StopStrings stops_;
  int32_t channel_begin_, channel_end_, call_begin_;
  bool in_thought_ = false, in_call_ = false, finished_ = false;
  bool prompt_told_ = false;
  std::string call_name_;  // announced by the reader, not yet told
  bool call_told_ = false;
  ChoiceResult result_;
  std::deque<TokenLogprob> pending_;  // of content tokens whose text is not out yet
  std::string unmatched_;             // text that is out and belongs to the first of pending_
};

// "call_", "toolu_", ...: 24 characters of base62 from the system's random numbers.
std::string random_id(std::string_view prefix);

}  // namespace lapidary::server
