// data: URLs (RFC 2397), and %XX.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lapidary::server {

// %XX become bytes; a % that two hexadecimal digits do not follow stays.
std::string percent_decoded(std::string_view text);

// The bytes behind data:[MEDIA TYPE][;NAME=VALUE...][;base64],DATA. What the URL claims to be is not looked at.
// Errors: kInvalidArgument for what is no data URL or no base64, kExhausted for more than bytes_max (before anything is
// decoded).
Result<std::string> decode_data_url(std::string_view url, int64_t bytes_max);

// Bare base64, as decode_base64. Errors: the same.
Result<std::string> decode_bare_base64(std::string_view text, int64_t bytes_max);

}  // namespace lapidary::server
