// Transfer-Encoding: chunked, undone (RFC 9112 §7.1). Extensions and trailers are read over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/request_head.h"

namespace lapidary {

class ChunkedBody {
 public:
  // Takes bytes off the front of `in` and appends what they carry to `body` (nullptr: only counts it). Stops at the
  // body's end, at damage, and before body_bytes() would exceed bytes_max (kRefused, 413).
  HttpProgress read(std::string_view& in, std::string* body, int64_t bytes_max);

  int64_t body_bytes() const { return body_bytes_; }  // that were found so far
  const HttpRefusal& refusal() const { return refusal_; }

 private:
  enum class Part : uint8_t { kSize, kExtension, kSizeLf, kData, kDataCr, kDataLf, kTrailer, kEnd };

  HttpProgress refuse(std::string message);
  bool read_framing(char c);

  Part part_ = Part::kSize;
  int size_digits_ = 0;
  int64_t chunk_left_ = 0;
  int64_t body_bytes_ = 0;
  int64_t line_bytes_ = 0;     // of an extension, or of all trailers
  bool trailer_line_ = false;  // the current line of the trailer is not blank
  bool after_cr_ = false;
  HttpRefusal refusal_;
};

}  // namespace lapidary
