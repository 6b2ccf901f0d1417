#include "http/response_head.h"

#include <fmt/format.h>

#include <boost/beast/http/status.hpp>
#include <ctime>
#include <iterator>

#include "http/text.h"

namespace lapidary {
namespace {

namespace http = boost::beast::http;

std::string_view reason(int status) {
  if (status == 529) return "Overloaded";  // not registered; Anthropic's
  const auto known = http::int_to_status(static_cast<unsigned>(status));
  if (known == http::status::unknown) return "Status";
  const auto text = http::obsolete_reason(known);
  return {text.data(), text.size()};
}

// "Sun, 06 Nov 1994 08:49:37 GMT", made once a second on each thread. Not strftime: names of days are English here
// whatever the locale.
std::string_view date_now() {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  thread_local std::time_t second = -1;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != second) {
    std::tm utc{};
    gmtime_r(&now, &utc);
    text = fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[utc.tm_wday], utc.tm_mday, kMonths[utc.tm_mon],
                       utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
    second = now;
  }
  return text;
}

void append_value(std::string& out, std::string_view value) {
  for (const char c : value) out.push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
}

bool transports_own(std::string_view name) {
  for (const std::string_view own : {"content-length", "transfer-encoding", "connection", "date"}) {
    if (equal_ignoring_case(name, own)) return true;
  }
  return false;
}

}  // namespace

bool status_has_body(int status) { return status >= 200 && status != 204 && status != 304; }

std::string response_head(const HttpResponse& response, BodyFraming framing, int version, bool keep_alive) {
  std::string out;
  out.reserve(512);
  auto to = std::back_inserter(out);
  fmt::format_to(to, "HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
  for (const auto& [name, value] : response.headers) {
    if (!http_token(name) || transports_own(name)) continue;
    out.append(name).append(": ");
    append_value(out, value);
    out.append("\r\n");
  }
  out.append("Date: ").append(date_now()).append("\r\n");
  if (!keep_alive) {
    out.append("Connection: close\r\n");
  } else if (version == 10) {
    out.append("Connection: keep-alive\r\n");
  }
  if (status_has_body(response.status)) {
    if (framing == BodyFraming::kLength) fmt::format_to(to, "Content-Length: {}\r\n", response.body.size());
    if (framing == BodyFraming::kChunks) out.append("Transfer-Encoding: chunked\r\n");
  }
  return out.append("\r\n");
}

void append_chunk(std::string& out, std::string_view piece) {
  if (piece.empty()) return;  // would be the last chunk
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", piece.size());
  out.append(piece).append("\r\n");
}

}  // namespace lapidary
