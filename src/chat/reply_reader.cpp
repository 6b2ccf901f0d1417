#include "chat/reply_reader.h"

#include <utility>

#include "chat/argument_words.h"
#include "chat/tool_arguments.h"

namespace lapidary {
namespace {

constexpr std::string_view kThoughtLine = "thought\n";

// Cuts the white space off the end of text and returns it.
std::string take_trailing_spaces(std::string& text) {
  const size_t last = text.find_last_not_of(kSpaces);
  const size_t keep = last == std::string::npos ? 0 : last + 1;
  std::string spaces = text.substr(keep);
  text.resize(keep);
  return spaces;
}

void report(ReplyEvent::Kind kind, std::string text, std::vector<ReplyEvent>& events) {
  if (text.empty()) return;
  ReplyEvent event;
  event.kind = kind;
  event.text = std::move(text);
  events.push_back(std::move(event));
}

}  // namespace

ReplyReader::ReplyReader(const Tokenizer& tokenizer, bool thought_open, bool goes_on)
    : tokenizer_(&tokenizer), stream_(tokenizer), goes_on_(goes_on) {
  const auto id = [&](std::string_view name) { return tokenizer.id_of(name).value_or(-1); };
  channel_begin_ = id("<|channel>");
  channel_end_ = id("<channel|>");
  call_begin_ = id("<|tool_call>");
  call_end_ = id("<tool_call|>");
  response_begin_ = id("<|tool_response>");
  quote_ = id("<|\"|>");
  turn_begin_ = id("<|turn>");
  turn_end_ = id("<turn|>");
  eos_ = id("<eos>");
  if (thought_open) state_ = State::kThought;
}

bool ReplyReader::is_marker(int32_t token) const {
  return token >= 0 && (token == channel_begin_ || token == channel_end_ || token == call_begin_ ||
                        token == call_end_ || token == response_begin_ || token == turn_begin_ || token == turn_end_ ||
                        token == eos_ || (token == quote_ && state_ == State::kCall));
}

std::vector<ReplyEvent> ReplyReader::push(int32_t token) {
  std::vector<ReplyEvent> events;
  if (ended()) return events;
  if (is_marker(token)) {
    handle_text(stream_.flush(), events);
    handle_marker(token, events);
  } else if (token == quote_ || !tokenizer_->is_special(token)) {
    // Other control tokens say nothing. <|"|> outside a call is what the model wrote.
    handle_text(stream_.push(token), events);
  }
  return events;
}

std::vector<ReplyEvent> ReplyReader::finish() {
  std::vector<ReplyEvent> events;
  if (ended()) return events;
  handle_text(stream_.flush(), events);
  leave(true, events);
  state_ = State::kEnded;
  return events;
}

void ReplyReader::handle_marker(int32_t token, std::vector<ReplyEvent>& events) {
  if (token == quote_) {
    call_text(std::string_view(&kStringDelimiter, 1), events);
  } else if (token == channel_begin_) {
    leave(false, events);
    state_ = State::kThoughtName;
  } else if (token == channel_end_) {
    if (state_ != State::kThought && state_ != State::kThoughtName) return;
    leave(false, events);
    state_ = State::kContent;
    after_block_ = true;
    after_call_ = false;
  } else if (token == call_begin_) {
    leave(false, events);  // inside a thought it ends the thought: models forget <channel|>
    state_ = State::kCall;
  } else if (token == call_end_) {
    if (state_ == State::kCall) leave_call(true, events);
  } else {
    if (token == response_begin_ && state_ == State::kContent && after_call_) return;
    leave(true, events);
    state_ = goes_on_ ? State::kContent : State::kEnded;
  }
}

// Ends the segment that the reader is in.
void ReplyReader::leave(bool reply_ends, std::vector<ReplyEvent>& events) {
  switch (state_) {
    case State::kContent:
      if (reply_ends && !after_block_) report(ReplyEvent::Kind::kText, std::exchange(held_, {}), events);
      break;
    case State::kThoughtName:
      if (held_ + '\n' != kThoughtLine) thought_text(std::exchange(held_, {}), events);
      break;
    case State::kThought:
    case State::kEnded:
      break;
    case State::kCall:
      leave_call(false, events);
      break;
  }
  held_.clear();
}

void ReplyReader::handle_text(std::string text, std::vector<ReplyEvent>& events) {
  if (text.empty()) return;
  switch (state_) {
    case State::kContent:
      return content_text(std::move(text), events);
    case State::kThoughtName:
      return thought_name_text(text, events);
    case State::kThought:
      return thought_text(std::move(text), events);
    case State::kCall:
      return call_text(text, events);
    case State::kEnded:
      return;
  }
}

void ReplyReader::content_text(std::string text, std::vector<ReplyEvent>& events) {
  if (after_block_) {
    const size_t first = text.find_first_not_of(kSpaces);
    if (first == std::string::npos) return;
    text.erase(0, first);
    after_block_ = after_call_ = false;
  }
  text = std::exchange(held_, {}) + text;
  held_ = take_trailing_spaces(text);
  report(ReplyEvent::Kind::kText, std::move(text), events);
}

// The line "thought" is dropped. Any other beginning is part of the thought, and is reported as soon as it differs.
void ReplyReader::thought_name_text(const std::string& text, std::vector<ReplyEvent>& events) {
  held_ += text;
  if (kThoughtLine.starts_with(held_) && held_ != kThoughtLine) return;
  std::string rest = std::exchange(held_, {});
  if (rest.starts_with(kThoughtLine)) rest.erase(0, kThoughtLine.size());
  state_ = State::kThought;
  thought_text(std::move(rest), events);
}

void ReplyReader::thought_text(std::string text, std::vector<ReplyEvent>& events) {
  text = std::exchange(held_, {}) + text;
  held_ = take_trailing_spaces(text);
  report(ReplyEvent::Kind::kThought, std::move(text), events);
}

void ReplyReader::call_text(std::string_view text, std::vector<ReplyEvent>& events) {
  call_ += text;
  if (call_name_.empty()) {
    if (text.find('{') == std::string_view::npos) return;
    call_name_ = tool_call_name(call_);
    if (call_name_.empty()) return;
    call_stream_ = CallStream();
    report(ReplyEvent::Kind::kCallBegun, call_name_, events);
  }
  report(ReplyEvent::Kind::kCallArguments, call_stream_.advance(call_), events);
}

void ReplyReader::leave_call(bool closed, std::vector<ReplyEvent>& events) {
  const std::string text = std::exchange(call_, {});
  std::string name = std::exchange(call_name_, {});
  state_ = State::kContent;
  held_.clear();
  after_block_ = after_call_ = true;
  std::string rest;
  if (Result<Json> arguments = name.empty() ? Error{} : call_stream_.finish(text, rest)) {
    report(ReplyEvent::Kind::kCallArguments, std::move(rest), events);
    ReplyEvent event;
    event.kind = ReplyEvent::Kind::kCall;
    event.call.name = std::move(name);
    event.call.arguments = std::move(arguments).value();
    events.push_back(std::move(event));
    return;
  }
  std::string raw = "<|tool_call>";
  for (const char c : text) {
    if (c == kStringDelimiter) {
      raw += "<|\"|>";
    } else {
      raw += c;
    }
  }
  if (closed) raw += "<tool_call|>";
  report(ReplyEvent::Kind::kText, std::move(raw), events);
}

Reply read_reply(const Tokenizer& tokenizer, std::span<const int32_t> tokens, bool thought_open) {
  Reply reply;
  const auto take = [&](std::vector<ReplyEvent> events) {
    for (ReplyEvent& event : events) {
      if (event.kind == ReplyEvent::Kind::kThought) reply.thought += event.text;
      if (event.kind == ReplyEvent::Kind::kText) reply.text += event.text;
      if (event.kind == ReplyEvent::Kind::kCall) reply.tool_calls.push_back(std::move(event.call));
    }
  };
  ReplyReader reader(tokenizer, thought_open);
  for (const int32_t token : tokens) take(reader.push(token));
  take(reader.finish());
  return reply;
}

}  // namespace lapidary
