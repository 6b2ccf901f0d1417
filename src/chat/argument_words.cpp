#include "chat/argument_words.h"

#include <string>
#include <utility>

#include "chat/tool_arguments.h"

namespace lapidary {
namespace {

static_assert(kBareWordEnds.back() == kStringDelimiter);

// Whether text is a number by the grammar of JSON.
bool is_json_number(std::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at - begin;
  };
  const auto take = [&](std::string_view any) {
    const bool found = at < text.size() && any.find(text[at]) != std::string_view::npos;
    at += found ? 1 : 0;
    return found;
  };
  take("-");
  const size_t whole = at;
  if (digits() == 0 || (text[whole] == '0' && at - whole > 1)) return false;
  if (take(".") && digits() == 0) return false;
  if (take("eE")) {
    take("+-");
    if (digits() == 0) return false;
  }
  return at == text.size();
}

}  // namespace

Json bare_word_value(std::string_view word) {
  if (word == "true") return true;
  if (word == "false") return false;
  if (word == "null" || word == "none" || word == "nil") return nullptr;
  if (is_json_number(word)) {
    // A number that no double can hold stays text.
    if (Result<Json> number = parse_json_exact(word, "number")) return std::move(number).value();
  }
  return std::string(word);
}

Json double_quoted_value(std::string_view literal) {
  Result<Json> parsed = parse_json(literal, "string");
  return parsed ? std::move(parsed).value() : Json(std::string(literal.substr(1, literal.size() - 2)));
}

std::string_view without_quotes(std::string_view key) {
  const bool quoted = key.size() >= 2 && (key.front() == '"' || key.front() == '\'') && key.back() == key.front();
  return quoted ? key.substr(1, key.size() - 2) : key;
}

std::string_view unclosed_string(std::string_view text, std::string_view closing) {
  while (!text.empty() && kSpaces.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  for (const char bracket : closing) {
    if (text.empty() || text.back() != bracket) break;
    text.remove_suffix(1);
  }
  return text;
}

}  // namespace lapidary
