// Words of a tool call's arguments: what the reader of whole calls and the reader of calls that are still being written
// make of them. Private to the room.
#pragma once

#include <string_view>

#include "base/json.h"

namespace lapidary {

inline constexpr std::string_view kSpaces = " \t\r\n";
inline constexpr std::string_view kBareWordEnds = ",}]\xff";  // the last one is kStringDelimiter

// What may follow a string in ordinary quotes; before anything else the quotes belong to bare words.
inline bool ends_bare_word(char c) { return c == ',' || c == '}' || c == ']'; }

// word without white space around it: true, false, null (also none and nil), a number by JSON's grammar, else a string.
Json bare_word_value(std::string_view word);

// literal with its quotes: a JSON string, or else what stands between them.
Json double_quoted_value(std::string_view literal);

// A key without the ordinary quotes around it.
std::string_view without_quotes(std::string_view key);

// The text of a last string that was never closed. Brackets at its end that match the open ones (closing: those still
// to come, outermost first) are theirs and not the string's.
std::string_view unclosed_string(std::string_view text, std::string_view closing);

}  // namespace lapidary
