// The body of a request as its head announces it, by its length or in chunks: kept, or read over when nobody wants it.
#pragma once

#include <cstdint>
#include <string>

#include "http/chunked_body.h"
#include "http/request_head.h"

namespace lapidary {

class BodyReader {
 public:
  BodyReader() = default;
  BodyReader(const RequestHead& head, int64_t bytes_max)
      : chunked_(head.chunked), bytes_left_(head.content_bytes), bytes_max_(bytes_max) {}

  // Takes what belongs to the body off the front of `in`. kRefused: damage, more than bytes_max, or, reading over, more
  // than may be read over.
  HttpProgress read(std::string& in);
  // From now on bytes are read over, at most so many.
  void discard(int64_t bytes_max);

  bool discarding() const { return discarding_; }
  bool expected() const { return chunked_ || bytes_left_ > 0; }
  int64_t bytes_left() const { return bytes_left_; }  // that are known to come; 0 of a chunked body
  const HttpRefusal& refusal() const { return chunks_.refusal(); }
  std::string take() { return std::move(body_); }

 private:
  HttpProgress read_counted(std::string_view& in);

  bool chunked_ = false, discarding_ = false;
  int64_t bytes_left_ = 0, bytes_max_ = 0;
  int64_t discard_bytes_left_ = 0;
  ChunkedBody chunks_;
  std::string body_;
};

}  // namespace lapidary
