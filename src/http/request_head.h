// The head of an HTTP/1.x request as it arrives: where it ends, within bounds, and what it asks of the connection.
// Nothing here reads a body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/http.h"
#include "http/request_parser.h"

namespace lapidary {

struct RequestHead {
  HttpHead http;
  bool keep_alive = true;
  bool expects_continue = false;
};

class HeadReader {
 public:
  explicit HeadReader(const HttpOptions& options) : options_(&options) {}

  // `bytes`: everything since the request began; between calls it only grows. After kDone the head lies in
  // bytes[0, size()).
  HttpProgress read(std::string_view bytes);

  size_t size() const { return line_begin_; }
  RequestHead& head() { return head_; }
  RequestParser& parser() { return parser_; }  // after kDone: what reads the body
  const HttpRefusal& refusal() const { return refusal_; }

 private:
  HttpProgress refuse(int status, std::string_view code, std::string message);
  HttpProgress check_line(std::string_view line);
  HttpProgress finish(std::string_view head);
  HttpProgress read_target();
  HttpProgress read_host();
  HttpProgress read_expectation();

  const HttpOptions* options_;
  RequestHead head_;
  RequestParser parser_;
  HttpRefusal refusal_;
  std::string authority_;     // of an absolute target
  size_t line_begin_ = 0;     // of the line that is not complete yet
  size_t scanned_ = 0;        // no line ends before here that was not seen
  size_t request_begin_ = 0;  // the request line
  size_t fields_begin_ = 0;   // 0: the request line has not come yet
  int blank_lines_ = 0;       // before the request line
};

}  // namespace lapidary
