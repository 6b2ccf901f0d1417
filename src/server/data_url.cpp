#include "server/data_url.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/base64.h"
#include "server/url_text.h"

namespace lapidary::server {
namespace {

constexpr size_t kHeadBytesMax = 4096;  // media type and parameters

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Error too_large(int64_t bytes_max) {
  return {ErrorCode::kExhausted, fmt::format("expected at most {} bytes, found more", bytes_max)};
}

}  // namespace

std::string percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = i + 2 < text.size() && text[i] == '%' ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<std::string> decode_bare_base64(std::string_view text, int64_t bytes_max) {
  // Line breaks and padding are a few in a hundred; what is decoded is counted once more.
  if (std::ssize(text) / 4 * 3 > bytes_max + bytes_max / 8 + 64) return too_large(bytes_max);
  std::string bytes;
  if (!decode_base64(text, bytes)) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("expected base64, found {} bytes that are not", text.size())};
  }
  if (std::ssize(bytes) > bytes_max) return too_large(bytes_max);
  return bytes;
}

Result<std::string> decode_data_url(std::string_view url, int64_t bytes_max) {
  const size_t comma = url.substr(0, kHeadBytesMax).find(',');
  if (!has_scheme(url, "data") || comma == std::string_view::npos) {
    return Error{ErrorCode::kInvalidArgument, "expected data:[TYPE][;base64],DATA, found no comma"};
  }
  const std::string_view head = url.substr(0, comma), data = url.substr(comma + 1);
  const size_t semicolon = head.rfind(';');
  const bool base64 =
      semicolon != std::string_view::npos && equals_ignoring_case(trimmed(head.substr(semicolon + 1)), "base64");
  const bool escaped = data.find('%') != std::string_view::npos;
  if (base64)
    return escaped ? decode_bare_base64(percent_decoded(data), bytes_max) : decode_bare_base64(data, bytes_max);
  // Every byte may be written as three.
  if (std::ssize(data) / 3 > bytes_max) return too_large(bytes_max);
  std::string bytes = percent_decoded(data);
  if (std::ssize(bytes) > bytes_max) return too_large(bytes_max);
  return bytes;
}

}  // namespace lapidary::server
