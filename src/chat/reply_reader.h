// Reply tokens -> thought, text and tool calls.
//
//   reply   := (thought | text | call)* stop
//   thought := <|channel> "thought\n" ... <channel|>
//   call    := <|tool_call> "call:NAME{...}" <tool_call|>
//   stop    := <turn|> | <|tool_response> | <eos>
//
// Driven by token ids: text that merely looks like a marker stays text. No sequence of tokens is an error; what cannot
// be read as a call comes back as text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chat/call_stream.h"
#include "chat/messages.h"
#include "text/text_stream.h"
#include "text/tokenizer.h"

namespace lapidary {

struct ReplyEvent {
  enum class Kind : uint8_t {
    kThought,    // text: more of the thought
    kText,       // text: more of the answer
    kCallBegun,  // text: the name of a call whose arguments are coming. If no kCall follows, the call could not be read
                 // and was given back as text.
    kCallArguments,  // text: more of its arguments as JSON text. All of a call's pieces together are dump_wire_json of
                     // the arguments that kCall has; they are cut between characters and escapes.
    kCall,           // call: complete. Its id is empty; the format has none.
  };
  Kind kind = Kind::kText;
  std::string text;
  ToolCall call;
};

class ReplyReader {
 public:
  // thought_open: as PromptTokens says. goes_on: stop tokens end a thought or call, not the reply, as somebody wants it
  // who measures with a fixed number of tokens. Keeps a reference: the tokenizer outlives the reader.
  ReplyReader(const Tokenizer& tokenizer, bool thought_open, bool goes_on = false);

  // White space is held until it is known to lie inside: none is reported at the end of a thought, between a thought or
  // a call and the text beside it.
  std::vector<ReplyEvent> push(int32_t token);
  // The reply ends, wherever it stands: the rest of a thought is thought, an unfinished call is read as far as it goes.
  std::vector<ReplyEvent> finish();

  // A stop token was pushed (or finish() called): nothing more will be reported.
  bool ended() const { return state_ == State::kEnded; }

 private:
  enum class State : uint8_t { kContent, kThoughtName, kThought, kCall, kEnded };

  void handle_marker(int32_t token, std::vector<ReplyEvent>& events);
  void handle_text(std::string text, std::vector<ReplyEvent>& events);
  void content_text(std::string text, std::vector<ReplyEvent>& events);
  void thought_name_text(const std::string& text, std::vector<ReplyEvent>& events);
  void thought_text(std::string text, std::vector<ReplyEvent>& events);
  void call_text(std::string_view text, std::vector<ReplyEvent>& events);
  void leave(bool reply_ends, std::vector<ReplyEvent>& events);
  void leave_call(bool closed, std::vector<ReplyEvent>& events);
  bool is_marker(int32_t token) const;

  const Tokenizer* tokenizer_;
  TextStream stream_;
  // -1 when the vocabulary has no such token.
  int32_t channel_begin_, channel_end_, call_begin_, call_end_, response_begin_, quote_, turn_begin_, turn_end_, eos_;

  State state_ = State::kContent;
  bool goes_on_ = false;
  std::string held_;          // white space that may turn out to be the last, or the beginning of a thought's name line
  bool after_block_ = false;  // content that follows a thought or a call: its first white space is dropped
  bool after_call_ = false;   // ... a call: a stray <tool_call|> or <|tool_response> is no stop
  std::string call_;          // text of the call, kStringDelimiter for each <|"|>
  std::string call_name_;     // empty before it is known
  CallStream call_stream_;    // from then on
};

struct Reply {
  std::string thought, text;
  std::vector<ToolCall> tool_calls;
};

// A whole reply at once.
Reply read_reply(const Tokenizer& tokenizer, std::span<const int32_t> tokens, bool thought_open);

}  // namespace lapidary
