// What a response looks like on the wire.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "http/http.h"

namespace lapidary {

// How the other end finds the end of a body.
enum class BodyFraming : uint8_t { kLength, kChunks, kClose };

// Status line, the response's own fields, then Date, Connection and framing; blank line included. CR, LF and NUL in a
// field's value become spaces, so that text from a request cannot become a field.
std::string response_head(const HttpResponse& response, BodyFraming framing, int version, bool keep_alive);

// False for statuses that never have a body: 1xx, 204, 304.
bool status_has_body(int status);

void append_chunk(std::string& out, std::string_view piece);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace lapidary
