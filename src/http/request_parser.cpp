#include "http/request_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <limits>
#include <optional>

#include "http/text.h"

namespace lapidary {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

// Of the line that announces a chunk with its extensions, or of all trailers: the parser wants them in one piece.
constexpr size_t kFramingBytesMax = 16 << 10;

int64_t line_ends(std::string_view bytes) { return std::count(bytes.begin(), bytes.end(), '\n'); }

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

const char* say(const boost::system::error_code& problem) {
  switch (static_cast<http::error>(problem.value())) {
    case http::error::bad_method:
      return "malformed method in the request line";
    case http::error::bad_target:
      return "malformed request target";
    case http::error::bad_version:
      return "malformed request line, expected METHOD TARGET HTTP/1.1";
    case http::error::bad_field:
      return "malformed header field, expected NAME: VALUE";
    case http::error::bad_value:
      return "a control character or a malformed list in a header field";
    case http::error::bad_content_length:
      return "malformed Content-Length, or one beside Transfer-Encoding";
    case http::error::multiple_content_length:
      return "two Content-Lengths that differ";
    case http::error::bad_transfer_encoding:
      return "Transfer-Encoding twice, or beside Content-Length";
    case http::error::bad_chunk:
      return "malformed chunk, expected its size in hexadecimal digits, CR LF, as many bytes, CR LF";
    case http::error::bad_chunk_extension:
      return "malformed extension of a chunk";
    case http::error::bad_line_ending:
      return "a line does not end with CR LF";
    default:
      return "malformed request";
  }
}

}  // namespace

class RequestParser::Parser final : public http::basic_parser<true> {
 public:
  Parser() {
    eager(true);
    header_limit(std::numeric_limits<uint32_t>::max());  // bounded by who finds the head's end
    body_limit(boost::none);                             // bounded chunk by chunk, and by whoever knows the length
  }

  HttpProgress feed(std::string_view& in) {
    if (is_done()) return HttpProgress::kDone;
    boost::system::error_code problem;
    const size_t used = put(boost::asio::const_buffer(in.data(), in.size()), problem);
    in.remove_prefix(used);
    if (!refused && problem && problem != http::error::need_more) refuse(400, "bad_request", say(problem));
    if (refused) return HttpProgress::kRefused;
    return is_done() ? HttpProgress::kDone : HttpProgress::kMore;
  }

  void refuse(int status, std::string_view code, std::string message) {
    refused = true;
    refusal = {status, code, std::move(message)};
  }

  HttpHead* head = nullptr;  // while it is read
  int32_t fields_max = 0;
  std::string* body = nullptr;
  int64_t body_bytes = 0, body_bytes_max = 0;
  std::optional<int64_t> lines_held;  // line ends in what the last call left, which is no chunk's data
  bool chunk_complete = false;        // its data; CR LF come next
  bool refused = false;
  HttpRefusal refusal;

 private:
  using Error = boost::system::error_code;

  void stop(Error& error, int status, std::string_view code, std::string message) {
    refuse(status, code, std::move(message));
    error = http::error::bad_value;
  }

  void on_request_impl(http::verb /*verb*/, beast::string_view method, beast::string_view target, int version,
                       Error& /*error*/) override {
    head->method = view(method);
    head->target = view(target);
    head->version = version;
  }

  void on_field_impl(http::field field, beast::string_view name, beast::string_view value, Error& error) override {
    if (head == nullptr) return;  // a trailer
    if (static_cast<int64_t>(head->headers.size()) >= fields_max)
      return stop(error, 431, "headers_too_large", fmt::format("more than {} header fields", fields_max));
    if (field == http::field::transfer_encoding && !equal_ignoring_case(view(value), "chunked"))
      return stop(error, 501, "bad_request",
                  fmt::format("expected no Transfer-Encoding other than chunked, found \"{}\"", shown(view(value))));
    if (field == http::field::content_length && view(value).find_first_not_of("0123456789") != std::string_view::npos)
      return stop(error, 400, "bad_request",
                  fmt::format("malformed Content-Length, expected one number, found \"{}\"", shown(view(value))));
    head->headers.emplace_back(view(name), view(value));
  }

  void on_header_impl(Error& /*error*/) override {}
  void on_response_impl(int /*status*/, beast::string_view /*reason*/, int /*version*/, Error& /*error*/) override {}
  void on_body_init_impl(const boost::optional<uint64_t>& /*bytes*/, Error& /*error*/) override {}

  size_t on_body_impl(beast::string_view bytes, Error& /*error*/) override { return take(bytes); }

  void on_chunk_header_impl(uint64_t bytes, beast::string_view /*extensions*/, Error& error) override {
    chunk_complete = false;
    if (bytes > static_cast<uint64_t>(std::max<int64_t>(0, body_bytes_max - body_bytes)))
      stop(error, 413, "request_too_large", fmt::format("the body has more than {} bytes", body_bytes_max));
  }

  size_t on_chunk_body_impl(uint64_t left, beast::string_view bytes, Error& /*error*/) override {
    chunk_complete = left == bytes.size();
    return take(bytes);
  }

  void on_finish_impl(Error& /*error*/) override {}

  size_t take(beast::string_view bytes) {
    if (body != nullptr) body->append(bytes.data(), bytes.size());
    body_bytes += static_cast<int64_t>(bytes.size());
    return bytes.size();
  }
};

RequestParser::RequestParser() = default;
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;

HttpProgress RequestParser::read_head(std::string_view head, int32_t fields_max, HttpHead& out) {
  parser_ = std::make_unique<Parser>();
  parser_->head = &out;
  parser_->fields_max = fields_max;
  const HttpProgress progress = parser_->feed(head);
  parser_->head = nullptr;
  if (progress == HttpProgress::kRefused) return progress;
  if (!parser_->is_header_done()) {
    parser_->refuse(400, "bad_request", "malformed head of a request");
    return HttpProgress::kRefused;
  }
  return HttpProgress::kDone;
}

bool RequestParser::keep_alive() const { return parser_->keep_alive(); }
bool RequestParser::chunked() const { return parser_->chunked(); }

HttpProgress RequestParser::read_body(std::string_view& in, std::string* body, int64_t bytes_max) {
  // Between the data of chunks the parser takes nothing before a line is complete: it is asked when another one is.
  if (!parser_->lines_held || *parser_->lines_held != line_ends(in)) {
    parser_->lines_held.reset();
    parser_->body = body;
    parser_->body_bytes_max = bytes_max;
    const HttpProgress progress = parser_->feed(in);
    if (progress != HttpProgress::kMore || in.empty()) return progress;
    parser_->lines_held = line_ends(in);
  }
  if (parser_->chunk_complete && in.substr(0, 2) != std::string_view("\r\n").substr(0, in.size())) {
    parser_->refuse(400, "bad_request", "a chunk is longer than its size");
    return HttpProgress::kRefused;
  }
  // Such lines may not go on for ever, and end with CR LF: for a lone LF the parser would wait for ever.
  if (in.size() > kFramingBytesMax) {
    parser_->refuse(400, "bad_request", "the extensions or trailers of a chunked body are too long");
    return HttpProgress::kRefused;
  }
  for (size_t i = 0; i < in.size(); ++i) {
    const bool is_lone_lf = in[i] == '\n' && (i == 0 || in[i - 1] != '\r');
    const bool is_lone_cr = in[i] == '\r' && i + 1 < in.size() && in[i + 1] != '\n';
    if (!is_lone_lf && !is_lone_cr) continue;
    parser_->refuse(400, "bad_request", "a line of a chunked body does not end with CR LF");
    return HttpProgress::kRefused;
  }
  return HttpProgress::kMore;
}

int64_t RequestParser::bytes_left() const {
  if (!parser_ || parser_->is_done() || !parser_->content_length()) return 0;
  return static_cast<int64_t>(
      std::min<uint64_t>(*parser_->content_length_remaining(), std::numeric_limits<int64_t>::max()));
}

const HttpRefusal& RequestParser::refusal() const { return parser_->refusal; }

}  // namespace lapidary
