#include "chat/tool_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "chat/argument_words.h"
#include "chat/lower_case.h"

namespace lapidary {
namespace {

constexpr std::string_view kCall = "call:";

class ArgumentsReader {
 public:
  explicit ArgumentsReader(std::string_view text) : text_(text) {}

  Result<Json> read() {
    ASSIGN_OR_RETURN(Json arguments, read_object());
    skip(kSpaces);
    if (!at_end()) return error("the end of the call");
    return arguments;
  }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  bool next_is(char c) const { return !at_end() && text_[at_] == c; }
  void skip(std::string_view any) { at_ = std::min(text_.find_first_not_of(any, at_), text_.size()); }

  Error error(std::string_view expected) const {
    return {ErrorCode::kInvalidArgument,
            fmt::format("tool call: byte {} of {}: expected {}", at_, text_.size(), expected)};
  }

  Result<void> enter(char closing) {
    if (open_.size() >= static_cast<size_t>(kLimits.reply_call_depth_max)) {
      return error(fmt::format("at most {} levels of nesting", kLimits.reply_call_depth_max));
    }
    open_.push_back(closing);
    ++at_;
    return {};
  }

  Result<Json> read_object() {
    RETURN_IF_ERROR(enter('}'));
    Json object = Json::object();
    while (true) {
      skip(" \t\r\n,");
      if (at_end()) break;  // the brace is missing: the text's end stands for it
      if (next_is('}')) {
        ++at_;
        break;
      }
      if (next_is(']')) {
        if (open_.find(']') != std::string::npos) break;  // our brace is missing: it closes an array around us
        ++at_;
        continue;
      }
      ASSIGN_OR_RETURN(std::string key, read_key());
      skip(kSpaces);
      ASSIGN_OR_RETURN(Json value, read_value());
      object.emplace(std::move(key), std::move(value));  // nothing happens when there is such a key
    }
    open_.pop_back();
    return object;
  }

  Result<Json> read_array() {
    RETURN_IF_ERROR(enter(']'));
    Json array = Json::array();
    while (true) {
      skip(" \t\r\n,");
      if (at_end() || next_is('}')) break;  // the bracket is missing
      if (next_is(']')) {
        ++at_;
        break;
      }
      ASSIGN_OR_RETURN(Json value, read_value());
      array.push_back(std::move(value));
    }
    open_.pop_back();
    return array;
  }

  // Reads past the colon.
  Result<std::string> read_key() {
    std::string key;
    if (next_is(kStringDelimiter)) {
      const size_t end = text_.find(kStringDelimiter, at_ + 1);
      if (end == std::string_view::npos) return error("the end of a quoted key");
      key = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      skip(kSpaces);
      if (!next_is(':')) return error("':' after a key");
    } else {
      const size_t end = text_.find(':', at_);
      if (end == std::string_view::npos) return error("a key and ':'");
      const std::string_view name = strip(text_.substr(at_, end - at_));
      if (name.find(kStringDelimiter) != std::string_view::npos) return error("a key, not a string");
      key = without_quotes(name);
      at_ = end;
    }
    ++at_;
    return key;
  }

  Result<Json> read_value() {
    if (next_is(kStringDelimiter)) return Json(read_string());
    if (next_is('{')) return read_object();
    if (next_is('[')) return read_array();
    Json quoted;
    if (next_is('"') && read_double_quoted(quoted)) return quoted;
    if (next_is('\'') && read_single_quoted(quoted)) return quoted;
    return read_bare();
  }

  std::string read_string() {
    const size_t begin = at_ + 1;
    const size_t end = text_.find(kStringDelimiter, begin);
    if (end != std::string_view::npos) {
      at_ = end + 1;
      return std::string(text_.substr(begin, end - begin));
    }
    at_ = text_.size();
    return std::string(unclosed_string(text_.substr(begin), open_));
  }

  // What may follow a string in ordinary quotes, else the quotes belong to bare words.
  bool ends_value(size_t at) const {
    const size_t next = text_.find_first_not_of(kSpaces, at);
    return next == std::string_view::npos || ends_bare_word(text_[next]);
  }

  bool read_double_quoted(Json& out) {
    if (no_double_quote_) return false;
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) {
      no_double_quote_ = true;  // looked for once: the reader stays linear
      return false;
    }
    const std::string_view literal = text_.substr(at_, end + 1 - at_);
    if (!ends_value(end + 1) || literal.find(kStringDelimiter) != std::string_view::npos) return false;
    out = double_quoted_value(literal);
    at_ = end + 1;
    return true;
  }

  bool read_single_quoted(Json& out) {
    if (no_single_quote_) return false;
    size_t end = text_.find('\'', at_ + 1);
    while (end != std::string_view::npos && !ends_value(end + 1)) end = text_.find('\'', end + 1);
    if (end == std::string_view::npos) {
      no_single_quote_ = true;
      return false;
    }
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    if (inside.find(kStringDelimiter) != std::string_view::npos) return false;
    out = std::string(inside);
    at_ = end + 1;
    return true;
  }

  Result<Json> read_bare() {
    const size_t end = std::min(text_.find_first_of(kBareWordEnds, at_), text_.size());
    const std::string_view word = strip(text_.substr(at_, end - at_));
    at_ = end;
    if (next_is(kStringDelimiter)) return error("',' or a closing bracket after a value");
    return bare_word_value(word);
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string open_;  // the closing brackets still to come, outermost first
  bool no_double_quote_ = false, no_single_quote_ = false;
};

}  // namespace

std::string_view tool_call_name(std::string_view text) {
  text = strip(text);
  const size_t brace = text.find('{');
  if (!text.starts_with(kCall) || brace == std::string_view::npos) return {};
  const std::string_view name = strip(text.substr(kCall.size(), brace - kCall.size()));
  return name.find(kStringDelimiter) == std::string_view::npos ? name : std::string_view();
}

Result<ToolCall> parse_tool_call(std::string_view text) {
  const std::string_view name = tool_call_name(text);
  if (name.empty()) {
    return Error{ErrorCode::kInvalidArgument, "tool call: expected call:NAME{"};
  }
  ASSIGN_OR_RETURN(Json arguments, ArgumentsReader(text.substr(text.find('{'))).read());
  ToolCall call;
  call.name = name;
  call.arguments = std::move(arguments);
  return call;
}

}  // namespace lapidary
