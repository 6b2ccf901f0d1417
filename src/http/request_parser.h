// The bytes of one request through Boost.Beast's parser: it knows what HTTP/1.1 is (start line, fields, lengths,
// chunks), and what it leaves to its user is decided here: bounds, and no form that two readers could understand as two
// requests (RFC 9112 §2-7).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/http.h"

namespace lapidary {

// Why a request goes no further; the words of HttpCallbacks::refuse.
struct HttpRefusal {
  int status = 400;
  std::string_view code = "bad_request";
  std::string message;
};

enum class HttpProgress : uint8_t { kMore, kDone, kRefused };

class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;
  RequestParser& operator=(RequestParser&&) noexcept;

  // A whole head, from the request line to the blank line after its fields; method, target, version and fields go to
  // `out` as they came. kDone or kRefused.
  HttpProgress read_head(std::string_view head, int32_t fields_max, HttpHead& out);

  // What the head said.
  bool keep_alive() const;
  bool chunked() const;

  // Takes bytes off the front of `in` and appends what they carry of the body to `body` (nullptr: reads over it). What
  // is left in `in` after kMore belongs to the next call, with more behind it. Stops at the body's end, at damage, and
  // before body_bytes() would exceed bytes_max (kRefused, 413). Extensions of chunks and trailers are read over.
  HttpProgress read_body(std::string_view& in, std::string* body, int64_t bytes_max);

  int64_t bytes_left() const;  // of a body whose length the head says; else 0
  const HttpRefusal& refusal() const;

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace lapidary
