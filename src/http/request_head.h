// The head of an HTTP/1.x request, byte by byte as it arrives: request line and fields, strict where two readers could
// understand two different requests (RFC 9112 §2-6). What a body is made of is decided here; nothing reads it.
#pragma once

#include <cstddef>
#include <cstdint>
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

struct RequestHead {
  HttpHead http;
  bool keep_alive = true;
  bool expects_continue = false;
  bool chunked = false;
  int64_t content_bytes = 0;  // of Content-Length; a number beyond 2^62 reads as 2^62
};

enum class HttpProgress : uint8_t { kMore, kDone, kRefused };

class HeadReader {
 public:
  explicit HeadReader(const HttpOptions& options) : options_(&options) {}

  // `bytes`: everything since the request began; between calls it only grows. After kDone the head lies in
  // bytes[0, size()).
  HttpProgress read(std::string_view bytes);

  size_t size() const { return line_begin_; }
  RequestHead& head() { return head_; }
  const HttpRefusal& refusal() const { return refusal_; }

 private:
  HttpProgress refuse(int status, std::string_view code, std::string message);
  HttpProgress read_request_line(std::string_view line);
  HttpProgress read_target(std::string_view target);
  HttpProgress read_field(std::string_view line);
  HttpProgress finish();
  HttpProgress read_body_length();
  HttpProgress read_host();

  const HttpOptions* options_;
  RequestHead head_;
  HttpRefusal refusal_;
  std::string authority_;    // of an absolute target
  size_t line_begin_ = 0;    // of the line that is not complete yet
  size_t scanned_ = 0;       // no line ends before here that was not read
  size_t fields_begin_ = 0;  // 0: the request line has not come yet
  int blank_lines_ = 0;      // before the request line
};

}  // namespace lapidary
