// Base64 as people send it: with or without padding, with line breaks, in either alphabet.
#pragma once

#include <string>
#include <string_view>

namespace lapidary {

// Strict alphabet (the URL-safe one as well), optional padding, white space tolerated. false: not base64; out is then
// unspecified.
bool decode_base64(std::string_view text, std::string& out);

// The ordinary alphabet, padded, on one line.
std::string encode_base64(std::string_view bytes);

}  // namespace lapidary
