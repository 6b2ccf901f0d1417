#include "http/chunked_body.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/text.h"

namespace lapidary {
namespace {

constexpr int kSizeDigitsMax = 15;  // 2^60: no sum overflows
constexpr int64_t kExtensionBytesMax = 4 << 10;
constexpr int64_t kTrailerBytesMax = 64 << 10;

}  // namespace

HttpProgress ChunkedBody::refuse(std::string message) {
  refusal_ = {400, "bad_request", std::move(message)};
  return HttpProgress::kRefused;
}

HttpProgress ChunkedBody::read(std::string_view& in, std::string* body, int64_t bytes_max) {
  while (part_ != Part::kEnd) {
    if (in.empty()) return HttpProgress::kMore;
    if (part_ != Part::kData) {
      if (!read_framing(in.front())) return HttpProgress::kRefused;
      in.remove_prefix(1);
      if (part_ == Part::kData && body_bytes_ + chunk_left_ > bytes_max) {
        refusal_ = {413, "request_too_large", fmt::format("the body has more than {} bytes", bytes_max)};
        return HttpProgress::kRefused;
      }
      continue;
    }
    const size_t take = static_cast<size_t>(std::min<int64_t>(chunk_left_, static_cast<int64_t>(in.size())));
    if (body != nullptr) body->append(in.substr(0, take));
    in.remove_prefix(take);
    body_bytes_ += static_cast<int64_t>(take);
    chunk_left_ -= static_cast<int64_t>(take);
    if (chunk_left_ == 0) part_ = Part::kDataCr;
  }
  return HttpProgress::kDone;
}

// One byte between the data. false: refusal_ says why.
bool ChunkedBody::read_framing(char c) {
  const auto wrong = [&](const char* message) {
    refuse(message);
    return false;
  };
  switch (part_) {
    case Part::kSize:
      if (const int digit = hex_digit(c); digit >= 0) {
        if (++size_digits_ > kSizeDigitsMax) return wrong("the size of a chunk has too many digits");
        chunk_left_ = chunk_left_ * 16 + digit;
        return true;
      }
      if (size_digits_ == 0) return wrong("malformed size of a chunk, expected hexadecimal digits");
      line_bytes_ = 0;
      if (c == '\r') {
        part_ = Part::kSizeLf;
      } else if (c == ';' || c == ' ' || c == '\t') {
        part_ = Part::kExtension;
      } else {
        return wrong("malformed size of a chunk, expected hexadecimal digits");
      }
      return true;
    case Part::kExtension:
      if (c == '\r') {
        part_ = Part::kSizeLf;
      } else if (c == '\n' || ++line_bytes_ > kExtensionBytesMax) {
        return wrong("malformed extension of a chunk");
      }
      return true;
    case Part::kSizeLf:
      if (c != '\n') return wrong("the size of a chunk does not end with CR LF");
      size_digits_ = 0;
      line_bytes_ = 0;
      part_ = chunk_left_ > 0 ? Part::kData : Part::kTrailer;
      return true;
    case Part::kDataCr:
      if (c != '\r') return wrong("a chunk is longer than its size");
      part_ = Part::kDataLf;
      return true;
    case Part::kDataLf:
      if (c != '\n') return wrong("a chunk does not end with CR LF");
      part_ = Part::kSize;
      return true;
    default:  // kTrailer: lines up to a blank one
      if (++line_bytes_ > kTrailerBytesMax) return wrong("the trailer of a chunked body is too long");
      if (after_cr_) {
        if (c != '\n') return wrong("a line of the trailer does not end with CR LF");
        after_cr_ = false;
        if (!trailer_line_) part_ = Part::kEnd;
        trailer_line_ = false;
      } else if (c == '\r') {
        after_cr_ = true;
      } else if (c == '\n') {
        return wrong("a line of the trailer ends with LF alone");
      } else {
        trailer_line_ = true;
      }
      return true;
  }
}

}  // namespace lapidary
