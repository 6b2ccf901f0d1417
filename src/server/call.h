// One HTTP request on its way through a surface, and how answers to it are written.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "http/http.h"
#include "server/answer.h"
#include "server/api_error.h"

namespace lapidary::server {

struct Call {
  std::shared_ptr<HttpExchange> exchange;
  // Out of its content coding. Whoever keeps a call lets it go once it is read: it counts among the bodies of all.
  std::shared_ptr<HttpBody> body = std::make_shared<HttpBody>();
  std::vector<std::string> parameters;       // of the path, decoded: {id}
  std::map<std::string, std::string> query;  // decoded; the last of equal names
  std::string handler;                       // the route's pattern, for metrics
  Surface surface = Surface::kOpenAi;
  Clock::time_point arrived{};
  std::shared_ptr<std::atomic<bool>> gone = std::make_shared<std::atomic<bool>>(false);  // the client is
  Headers headers;  // for every response to it: x-request-id, request-id, Access-Control-*

  const std::string* header(std::string_view name) const { return find_header(exchange->head().headers, name); }
  std::string request_id() const;  // empty when the responses carry none
  bool query_flag(std::string_view name) const;

  void respond(HttpResponse response) const;
  void respond_json(const Json& json, int status = 200) const;
  void respond_text(std::string text, std::string_view content_type, int status = 200) const;
  void fail(const ApiError& error) const { respond(error_response(surface, error, request_id())); }
  // What fail() answers with, for the middle of a stream.
  Json error_object(const ApiError& error) const { return error_json(surface, error, request_id()); }
};

// Server-sent events over one exchange.
class SseStream {
 public:
  explicit SseStream(const Call& call) : exchange_(call.exchange), headers_(call.headers) {}

  void begin();
  // data: JSON; name: an event: line before it, if any.
  void event(const Json& data, std::string_view name = {});
  void text(std::string_view data);  // data: text, for [DONE]
  void comment();
  void end() { exchange_->end(); }

 private:
  std::shared_ptr<HttpExchange> exchange_;
  Headers headers_;
};

// One JSON object a line.
class NdjsonStream {
 public:
  explicit NdjsonStream(const Call& call) : exchange_(call.exchange), headers_(call.headers) {}

  void begin();
  void line(const Json& data);
  void end() { exchange_->end(); }

 private:
  std::shared_ptr<HttpExchange> exchange_;
  Headers headers_;
};

int64_t unix_seconds();
// "2026-01-02T03:04:05.678901Z"
std::string rfc3339_now();

}  // namespace lapidary::server
