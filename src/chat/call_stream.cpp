#include "chat/call_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/utf8.h"
#include "chat/argument_words.h"
#include "chat/lower_case.h"
#include "chat/tool_arguments.h"

namespace lapidary {

std::string CallStream::advance(std::string_view text) {
  text_ = text;
  while (step()) continue;
  text_ = {};
  // A brace alone waits: a call without one readable key may be no call.
  if (out_ == "{" && !complete_) return {};
  return std::exchange(out_, {});
}

Result<Json> CallStream::finish(std::string_view text, std::string& rest) {
  complete_ = true;
  rest += advance(text);
  if (state_ != State::kAfter) return Error{ErrorCode::kInvalidArgument, error_};
  // The last brace waits until here: before, text might have followed it.
  rest += '}';
  return std::move(*root_);
}

// One step on; false when it needs more text than there is, or nothing is left to do.
bool CallStream::step() {
  switch (state_) {
    case State::kBefore:
      at_ = text_.find('{');
      if (at_ == std::string_view::npos) return fail("call:NAME{");
      return open('}');
    case State::kItem:
      return read_item();
    case State::kKey:
      return read_key();
    case State::kColon:
      return read_colon();
    case State::kValue:
      return read_value();
    case State::kString:
      return read_string();
    case State::kAfter:
      skip(kSpaces);
      return at_end() ? false : fail("the end of the call");
    case State::kFailed:
      return false;
  }
  return false;
}

void CallStream::skip(std::string_view any) { at_ = std::min(text_.find_first_not_of(any, at_), text_.size()); }

bool CallStream::fail(std::string_view expected) {
  state_ = State::kFailed;
  error_ = fmt::format("tool call: byte {} of {}: expected {}", at_, text_.size(), expected);
  return false;
}

bool CallStream::wait() {
  scanned_ = text_.size();
  return false;
}

void CallStream::write(std::string_view json, bool written) {
  if (written) out_ += json;
}

// A value's place: the member whose key was read, or the next element.
Json* CallStream::place(Json value) {
  if (member_ == nullptr) {
    Json& array = *open_.back().value;
    member_written_ = open_.back().written;
    if (!array.empty()) write(",", member_written_);
    array.push_back(nullptr);
    member_ = &array.back();
  }
  *member_ = std::move(value);
  return std::exchange(member_, nullptr);
}

void CallStream::put(Json value) {
  const Json& placed = *place(std::move(value));
  if (member_written_) out_ += dump_wire_json(placed);
  state_ = State::kItem;
}

bool CallStream::open(char closing) {
  if (open_.size() >= static_cast<size_t>(kLimits.reply_call_depth_max)) {
    return fail(fmt::format("at most {} levels of nesting", kLimits.reply_call_depth_max));
  }
  ++at_;
  const bool object = closing == '}';
  Json empty = object ? Json::object() : Json::array();
  Json* value = nullptr;
  if (open_.empty()) {
    root_ = std::make_unique<Json>(std::move(empty));
    value = root_.get();
  } else {
    value = place(std::move(empty));
  }
  write(object ? "{" : "[", member_written_);
  open_.push_back({value, closing, member_written_});
  closing_ += closing;
  state_ = State::kItem;
  return true;
}

void CallStream::close() {
  const Open closed = open_.back();
  open_.pop_back();
  closing_.pop_back();
  state_ = open_.empty() ? State::kAfter : State::kItem;
  if (!open_.empty()) write(std::string_view(&closed.closing, 1), closed.written);
}

// Between the members of an object or the elements of an array. A bracket that does not fit closes what it can.
bool CallStream::read_item() {
  skip(" \t\r\n,");
  if (at_end()) {
    if (!complete_) return false;
    close();
    return true;
  }
  const char c = text_[at_];
  const bool object = open_.back().closing == '}';
  if (c == open_.back().closing) {
    ++at_;
    close();
  } else if (c == '}' || (c == ']' && closing_.find(']') != std::string::npos)) {
    close();  // its own bracket is missing; this one closes something around it
  } else if (c == ']') {
    ++at_;
  } else {
    state_ = object ? State::kKey : State::kValue;
    scanned_ = at_;
    bare_ = false;
  }
  return true;
}

bool CallStream::read_key() {
  const bool quoted = text_[at_] == kStringDelimiter;
  const size_t end = text_.find(quoted ? kStringDelimiter : ':', std::max(scanned_, quoted ? at_ + 1 : at_));
  if (end == std::string_view::npos) {
    if (!complete_) return wait();
    return fail(quoted ? "the end of a quoted key" : "a key and ':'");
  }
  if (quoted) {
    key_ = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    state_ = State::kColon;
    return true;
  }
  const std::string_view name = strip(text_.substr(at_, end - at_));
  if (name.find(kStringDelimiter) != std::string_view::npos) return fail("a key, not a string");
  key_ = without_quotes(name);
  at_ = end;
  begin_member();
  return true;
}

bool CallStream::read_colon() {
  skip(kSpaces);
  if (at_end() && !complete_) return false;
  if (at_end() || text_[at_] != ':') return fail("':' after a key");
  begin_member();
  return true;
}

// At the colon. Of two equal keys the first one's value stands.
void CallStream::begin_member() {
  ++at_;
  const Open& object = open_.back();
  const bool second = object.value->contains(key_);
  member_written_ = object.written && !second;
  if (!object.value->empty()) write(",", member_written_);
  if (member_written_) out_ += dump_wire_json(Json(key_));
  write(":", member_written_);
  if (second) {
    if (object.written) second_ = std::make_unique<Json>();
    // Inside such a value nobody looks at what stands where.
    member_ = object.written ? second_.get() : &(*object.value)[key_];
  } else {
    member_ = &(*object.value)[key_];
  }
  state_ = State::kValue;
  bare_ = false;
  scanned_ = at_;
}

bool CallStream::read_value() {
  if (member_ != nullptr) skip(kSpaces);
  if (at_end()) {
    if (!complete_) return false;
    return read_bare_word();  // nothing: an empty string
  }
  const char c = text_[at_];
  if (c == kStringDelimiter) {
    ++at_;
    string_ = &place(std::string())->get_ref<std::string&>();
    write("\"", member_written_);
    state_ = State::kString;
    return true;
  }
  if (c == '{' || c == '[') return open(c == '{' ? '}' : ']');
  if (!bare_ && (c == '"' || c == '\'')) {
    Json value;
    switch (c == '"' ? read_double_quoted(value) : read_single_quoted(value)) {
      case Quoted::kYes:
        put(std::move(value));
        return true;
      case Quoted::kUnknown:
        return false;
      case Quoted::kNo:
        bare_ = true;
        scanned_ = at_;
    }
  }
  return read_bare_word();
}

// As far as it is certain, the string goes on.
bool CallStream::read_string() {
  const size_t end = text_.find(kStringDelimiter, at_);
  std::string_view more = text_.substr(at_, end == std::string_view::npos ? end : end - at_);
  if (end == std::string_view::npos && complete_) {
    more = unclosed_string(more, closing_);
  } else if (end == std::string_view::npos) {
    const size_t last = more.find_last_not_of(" \t\r\n}]");
    more = more.substr(0, last == std::string_view::npos ? 0 : last + 1);
    more.remove_suffix(utf8_incomplete_tail(more));
  }
  *string_ += more;
  if (member_written_) append_wire_characters(out_, more);
  at_ += more.size();
  if (end == std::string_view::npos && !complete_) return false;
  write("\"", member_written_);
  at_ = end == std::string_view::npos ? text_.size() : end + 1;
  state_ = State::kItem;
  return true;
}

bool CallStream::read_bare_word() {
  const size_t end = text_.find_first_of(kBareWordEnds, std::max(scanned_, at_));
  if (end == std::string_view::npos && !complete_) return wait();
  const std::string_view word = strip(text_.substr(at_, end == std::string_view::npos ? end : end - at_));
  at_ = std::min(end, text_.size());
  if (!at_end() && text_[at_] == kStringDelimiter) return fail("',' or a closing bracket after a value");
  put(bare_word_value(word));
  return true;
}

CallStream::Quoted CallStream::ends_value(size_t at) const {
  const size_t next = text_.find_first_not_of(kSpaces, at);
  if (next == std::string_view::npos) return complete_ ? Quoted::kYes : Quoted::kUnknown;
  return ends_bare_word(text_[next]) ? Quoted::kYes : Quoted::kNo;
}

CallStream::Quoted CallStream::read_double_quoted(Json& value) {
  if (no_double_quote_) return Quoted::kNo;
  size_t end = std::max(scanned_, at_ + 1);
  while (end < text_.size() && text_[end] != '"') {
    if (text_[end] == '\\' && end + 1 >= text_.size() && !complete_) break;
    end += text_[end] == '\\' ? 2 : 1;
  }
  scanned_ = end;
  if (end >= text_.size() || text_[end] != '"') {
    no_double_quote_ = complete_;  // looked for once: the reader stays linear
    return complete_ ? Quoted::kNo : Quoted::kUnknown;
  }
  const std::string_view literal = text_.substr(at_, end + 1 - at_);
  if (literal.find(kStringDelimiter) != std::string_view::npos) return Quoted::kNo;
  const Quoted ends = ends_value(end + 1);
  if (ends != Quoted::kYes) return ends;
  value = double_quoted_value(literal);
  at_ = end + 1;
  return Quoted::kYes;
}

CallStream::Quoted CallStream::read_single_quoted(Json& value) {
  if (no_single_quote_) return Quoted::kNo;
  size_t end = text_.find('\'', std::max(scanned_, at_ + 1));
  while (end != std::string_view::npos) {
    const Quoted ends = ends_value(end + 1);
    if (ends == Quoted::kYes) break;
    if (ends == Quoted::kUnknown) {
      scanned_ = end;
      return Quoted::kUnknown;
    }
    end = text_.find('\'', end + 1);
  }
  if (end == std::string_view::npos) {
    scanned_ = text_.size();
    no_single_quote_ = complete_;
    return complete_ ? Quoted::kNo : Quoted::kUnknown;
  }
  const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
  if (inside.find(kStringDelimiter) != std::string_view::npos) return Quoted::kNo;
  value = std::string(inside);
  at_ = end + 1;
  return Quoted::kYes;
}

}  // namespace lapidary
