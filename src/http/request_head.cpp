#include "http/request_head.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/text.h"

namespace lapidary {
namespace {

constexpr int64_t kMethodBytesMax = 32;
constexpr int64_t kLineSlackBytes = kMethodBytesMax + 16;  // what a request line has besides its target
constexpr int kBlankLinesMax = 4;                          // before a request, RFC 9112 §2.2

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// reg-name, IPv4 or [IPv6], and perhaps a port: enough to keep lists, paths and user names out.
bool host_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return !is_control(c) && std::string_view(" ,/\\@?#\"<>").find(c) == std::string_view::npos;
  });
}

}  // namespace

HttpProgress HeadReader::refuse(int status, std::string_view code, std::string message) {
  refusal_ = {status, code, std::move(message)};
  return HttpProgress::kRefused;
}

HttpProgress HeadReader::read(std::string_view bytes) {
  for (;;) {
    if (fields_begin_ == 0 && line_begin_ < bytes.size() && bytes[line_begin_] != '\r' &&
        !http_token_char(bytes[line_begin_])) {
      return refuse(400, "bad_request", "a request does not begin like this: this port speaks plain HTTP/1.1");
    }
    const size_t lf = bytes.find('\n', scanned_);
    const bool complete = lf != std::string_view::npos;
    const size_t end = complete ? lf + 1 : bytes.size();
    if (fields_begin_ == 0) {
      if (static_cast<int64_t>(end - line_begin_) > options_->target_bytes_max + kLineSlackBytes)
        return refuse(414, "uri_too_long",
                      fmt::format("the request line has more than {} bytes", options_->target_bytes_max));
    } else if (static_cast<int64_t>(end - fields_begin_) > options_->header_bytes_max) {
      return refuse(431, "headers_too_large",
                    fmt::format("the header fields have more than {} bytes", options_->header_bytes_max));
    }
    scanned_ = end;
    if (!complete) return HttpProgress::kMore;
    if (lf == line_begin_ || bytes[lf - 1] != '\r')
      return refuse(400, "bad_request", "a line of the head ends with LF alone, expected CR LF");
    const std::string_view line = bytes.substr(line_begin_, lf - 1 - line_begin_);
    const size_t begin = line_begin_;
    line_begin_ = lf + 1;
    if (fields_begin_ == 0) {
      if (line.empty()) {
        if (++blank_lines_ > kBlankLinesMax) return refuse(400, "bad_request", "blank lines in the place of a request");
        continue;
      }
      request_begin_ = begin;
      fields_begin_ = line_begin_;
    } else if (line.empty()) {
      return finish(bytes.substr(request_begin_, line_begin_ - request_begin_));
    }
    if (check_line(line) == HttpProgress::kRefused) return HttpProgress::kRefused;
  }
}

// What is right for a parser that is kind, and can be said before the whole head is there.
HttpProgress HeadReader::check_line(std::string_view line) {
  if (line_begin_ != fields_begin_) {
    if (line.front() != ' ' && line.front() != '\t') return HttpProgress::kMore;
    return refuse(400, "bad_request", "a header field is folded over two lines");
  }
  const size_t version = line.rfind(" HTTP/");
  if (version == std::string_view::npos)
    return refuse(400, "bad_request", "malformed request line, expected METHOD TARGET HTTP/1.1");
  const std::string_view number = line.substr(version + 6);
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (number.size() == 3 && digit(number[0]) && number[1] == '.' && digit(number[2]) && number != "1.1" &&
      number != "1.0")
    return refuse(505, "bad_request", fmt::format("expected HTTP/1.1 or HTTP/1.0, found HTTP/{}", number));
  // For whoever words a refusal of what follows; the parser says the last word.
  const size_t method = line.find(' ');
  if (method < version && std::none_of(line.begin(), line.end(), is_control)) {
    head_.http.method = line.substr(0, method);
    head_.http.target = line.substr(method + 1, version - method - 1);
  }
  return HttpProgress::kMore;
}

HttpProgress HeadReader::finish(std::string_view head) {
  if (parser_.read_head(head, options_->header_count_max, head_.http) == HttpProgress::kRefused) {
    refusal_ = parser_.refusal();
    return HttpProgress::kRefused;
  }
  if (static_cast<int64_t>(head_.http.method.size()) > kMethodBytesMax)
    return refuse(400, "bad_request", "malformed method in the request line");
  if (parser_.chunked() && head_.http.version == 10)
    return refuse(400, "bad_request", "Transfer-Encoding in an HTTP/1.0 request");
  head_.keep_alive = parser_.keep_alive();
  for (const auto read : {&HeadReader::read_target, &HeadReader::read_host, &HeadReader::read_expectation}) {
    if ((this->*read)() == HttpProgress::kRefused) return HttpProgress::kRefused;
  }
  return HttpProgress::kDone;
}

HttpProgress HeadReader::read_target() {
  std::string& target = head_.http.target;
  if (static_cast<int64_t>(target.size()) > options_->target_bytes_max)
    return refuse(
        414, "uri_too_long",
        fmt::format("the request target has {} bytes, at most {} are read", target.size(), options_->target_bytes_max));
  if (target.front() == '/' || (target == "*" && head_.http.method == "OPTIONS")) return HttpProgress::kMore;
  // An absolute target, as sent to a proxy: its authority takes the place of Host (RFC 9112 §3.2.2).
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!equal_ignoring_case(std::string_view(target).substr(0, scheme.size()), scheme)) continue;
    const size_t path = std::min(target.find_first_of("/?#", scheme.size()), target.size());
    authority_ = target.substr(scheme.size(), path - scheme.size());
    if (authority_.empty() || !host_value(authority_)) break;
    target.erase(0, path);
    if (target.empty() || target.front() != '/') target.insert(0, 1, '/');
    return HttpProgress::kMore;
  }
  return refuse(400, "bad_request",
                fmt::format("malformed request target, expected a path, found \"{}\"", shown(target)));
}

HttpProgress HeadReader::read_host() {
  std::string* host = nullptr;
  for (auto& [name, value] : head_.http.headers) {
    if (!equal_ignoring_case(name, "host")) continue;
    if (host != nullptr) return refuse(400, "bad_request", "more than one Host");
    if (!host_value(value)) return refuse(400, "bad_request", "malformed Host");
    host = &value;
  }
  if (host == nullptr && head_.http.version == 11) return refuse(400, "bad_request", "Host is missing");
  if (!authority_.empty()) {
    if (host != nullptr) {
      *host = authority_;
    } else {
      head_.http.headers.emplace_back("Host", authority_);
    }
  }
  return HttpProgress::kMore;
}

HttpProgress HeadReader::read_expectation() {
  if (head_.http.version == 10) return HttpProgress::kMore;
  for (const auto& [name, value] : head_.http.headers) {
    if (!equal_ignoring_case(name, "expect")) continue;
    if (!equal_ignoring_case(value, "100-continue"))
      return refuse(417, "expectation_failed",
                    fmt::format("the only expectation that can be met is 100-continue, found \"{}\"", shown(value)));
    head_.expects_continue = true;
  }
  return HttpProgress::kMore;
}

}  // namespace lapidary
