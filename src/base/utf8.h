// UTF-8: walking, checking and repairing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lapidary {

struct Utf8Scalar {
  char32_t code = 0;
  int bytes = 0;       // how far to go on; at least 1 when anything is left
  bool valid = false;  // false: not a well-formed sequence (overlong, surrogate, beyond U+10FFFF, cut)
};

// The scalar at text[at]; at < text.size().
Utf8Scalar utf8_scalar(std::string_view text, size_t at);

bool utf8_valid(std::string_view text);

void utf8_append(std::string& out, char32_t code);

// Invalid sequences become U+FFFD, one for each maximal ill-formed part.
std::string utf8_repair(std::string_view text);

// The largest position <= at that does not lie inside a character.
size_t utf8_floor(std::string_view text, size_t at);

// How many bytes at the end of text are the beginning of a character that more bytes could complete (0 to 3).
size_t utf8_incomplete_tail(std::string_view text);

}  // namespace lapidary
