#include "http/request_head.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/text.h"

namespace lapidary {
namespace {

constexpr int64_t kMethodBytesMax = 32;
constexpr int64_t kLineSlackBytes = kMethodBytesMax + 16;  // what a request line has besides its target
constexpr int kBlankLinesMax = 4;                          // before a request, RFC 9112 §2.2
constexpr int64_t kContentBytesCeiling = 1LL << 62;

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
    line_begin_ = lf + 1;
    HttpProgress progress = HttpProgress::kMore;
    if (fields_begin_ != 0) {
      if (line.empty()) return finish();
      progress = read_field(line);
    } else if (line.empty()) {
      if (++blank_lines_ > kBlankLinesMax)
        progress = refuse(400, "bad_request", "blank lines in the place of a request");
    } else {
      progress = read_request_line(line);
      fields_begin_ = line_begin_;
    }
    if (progress == HttpProgress::kRefused) return progress;
  }
}

HttpProgress HeadReader::read_request_line(std::string_view line) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return refuse(400, "bad_request", "malformed request line, expected METHOD TARGET HTTP/1.1");
  const std::string_view method = line.substr(0, first), target = line.substr(first + 1, last - first - 1),
                         version = line.substr(last + 1);
  if (!http_token(method) || static_cast<int64_t>(method.size()) > kMethodBytesMax)
    return refuse(400, "bad_request", "malformed method in the request line");
  if (version.size() != 8 || version.substr(0, 5) != "HTTP/" || version[6] != '.' || version[5] < '0' ||
      version[5] > '9' || version[7] < '0' || version[7] > '9')
    return refuse(400, "bad_request", "malformed version in the request line, expected HTTP/1.1");
  if (version[5] != '1') return refuse(505, "bad_request", "expected HTTP/1.1 or HTTP/1.0");
  head_.http.version = version[7] == '0' ? 10 : 11;
  head_.http.method = method;
  return read_target(target);
}

HttpProgress HeadReader::read_target(std::string_view target) {
  if (static_cast<int64_t>(target.size()) > options_->target_bytes_max)
    return refuse(
        414, "uri_too_long",
        fmt::format("the request target has {} bytes, at most {} are read", target.size(), options_->target_bytes_max));
  if (target.empty() || std::any_of(target.begin(), target.end(), [](char c) { return is_control(c) || c == ' '; }))
    return refuse(400, "bad_request", "malformed request target");
  if (target.front() == '/' || (target == "*" && head_.http.method == "OPTIONS")) {
    head_.http.target = target;
    return HttpProgress::kMore;
  }
  // An absolute target, as sent to a proxy: its authority takes the place of Host (RFC 9112 §3.2.2).
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!equal_ignoring_case(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    const size_t path = std::min(target.find_first_of("/?#"), target.size());
    authority_ = target.substr(0, path);
    if (authority_.empty() || !host_value(authority_)) break;
    head_.http.target = target.substr(path);
    if (head_.http.target.empty() || head_.http.target.front() != '/') head_.http.target.insert(0, 1, '/');
    return HttpProgress::kMore;
  }
  return refuse(400, "bad_request", "malformed request target, expected a path");
}

HttpProgress HeadReader::read_field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t')
    return refuse(400, "bad_request", "a header field is folded over two lines");
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !http_token(line.substr(0, colon)))
    return refuse(400, "bad_request", "malformed header field, expected NAME: VALUE");
  const std::string_view value = trim_http_space(line.substr(colon + 1));
  if (std::any_of(value.begin(), value.end(), [](char c) { return is_control(c) && c != '\t'; }))
    return refuse(400, "bad_request", "a control character in a header field");
  if (static_cast<int64_t>(head_.http.headers.size()) >= options_->header_count_max)
    return refuse(431, "headers_too_large", fmt::format("more than {} header fields", options_->header_count_max));
  head_.http.headers.emplace_back(line.substr(0, colon), value);
  return HttpProgress::kMore;
}

HttpProgress HeadReader::finish() {
  head_.keep_alive = head_.http.version == 11;
  bool close = false;
  for (const auto& [name, value] : head_.http.headers) {
    if (equal_ignoring_case(name, "connection")) {
      for (std::string_view list = value; !list.empty();) {
        const std::string_view option = next_list_element(list);
        if (equal_ignoring_case(option, "close")) close = true;
        if (equal_ignoring_case(option, "keep-alive")) head_.keep_alive = true;
      }
    } else if (equal_ignoring_case(name, "expect") && head_.http.version == 11) {
      if (!equal_ignoring_case(value, "100-continue"))
        return refuse(417, "expectation_failed", "the only expectation that can be met is 100-continue");
      head_.expects_continue = true;
    }
  }
  if (close) head_.keep_alive = false;
  if (const HttpProgress progress = read_host(); progress == HttpProgress::kRefused) return progress;
  return read_body_length();
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

HttpProgress HeadReader::read_body_length() {
  const std::string* length = nullptr;
  for (const auto& [name, value] : head_.http.headers) {
    if (equal_ignoring_case(name, "transfer-encoding")) {
      if (head_.http.version == 10) return refuse(400, "bad_request", "Transfer-Encoding in an HTTP/1.0 request");
      if (head_.chunked || !equal_ignoring_case(value, "chunked"))
        return refuse(head_.chunked ? 400 : 501, "bad_request", "expected no Transfer-Encoding other than chunked");
      head_.chunked = true;
    } else if (equal_ignoring_case(name, "content-length")) {
      if (value.empty() || value.find_first_not_of("0123456789") != std::string::npos)
        return refuse(400, "bad_request", "malformed Content-Length, expected one number");
      if (length != nullptr && *length != value) return refuse(400, "bad_request", "two Content-Lengths that differ");
      length = &value;
    }
  }
  if (length == nullptr) return HttpProgress::kDone;
  if (head_.chunked) return refuse(400, "bad_request", "Content-Length and Transfer-Encoding in one request");
  for (const char digit : *length) {
    if (head_.content_bytes >= kContentBytesCeiling / 10) {
      head_.content_bytes = kContentBytesCeiling;
      break;
    }
    head_.content_bytes = head_.content_bytes * 10 + (digit - '0');
  }
  return HttpProgress::kDone;
}

}  // namespace lapidary
