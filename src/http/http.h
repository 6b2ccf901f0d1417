// HTTP as the rest of the server sees it: a request's head and body, the way back, and what listens. No transport
// library shows here.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/body_budget.h"  // HttpBody

namespace lapidary {

using Headers = std::vector<std::pair<std::string, std::string>>;  // in order; names as they came

// The first header of that name, without regard to case; nullptr when there is none.
const std::string* find_header(const Headers& headers, std::string_view name);

struct HttpHead {
  std::string method;  // as sent: "POST"
  std::string target;  // as sent, path and query; of an absolute target without scheme and host
  int version = 11;    // 10 or 11
  Headers headers;
  std::string client;  // address of the other end, without its port
};

struct HttpResponse {
  int status = 200;
  Headers headers;  // without Content-Length, Transfer-Encoding, Connection, Date: the transport's own
  std::string body;
  bool close = false;  // the connection ends after it
};

// One request and the way back. Any thread may call any method; pieces are sent in the order in which they were
// written. Exactly one of respond() and begin()...end() answers it; whatever comes after the end is ignored. It may
// outlive its connection and the server. When the last holder lets it go without an answer, the transport answers 500
// ("internal_error"); in the middle of a stream it breaks the connection off.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  virtual const HttpHead& head() const = 0;
  virtual const std::string& body() const = 0;  // decoded from its transfer coding, not from its content coding
  // The body with its share of HttpOptions::bodies_bytes_max, which goes back when the caller lets it go; body() is
  // empty from then on. A body that nobody takes is held as long as the exchange. For the one thread that reads it.
  virtual HttpBody take_body() = 0;

  virtual void respond(HttpResponse response) = 0;
  // A body that comes in pieces, chunked (HTTP/1.0: until the connection closes). response.body is its first piece.
  virtual void begin(HttpResponse response) = 0;
  // One piece, one chunk, one write to the socket where possible. Bytes that the client does not take are kept, at most
  // HttpOptions::pending_bytes_max; a client for which more than that waits for a quarter of a second, or sixteen times
  // as much at any moment, counts as gone.
  virtual void write(std::string piece) = 0;
  virtual void end() = 0;
  // Of the answer: written, and not yet taken by the kernel.
  virtual int64_t pending_bytes() const { return 0; }

  // The client closed its side, reset the connection, or reads too slowly: nothing more is of use.
  virtual bool gone() const = 0;
  // Called once when that happens, on a thread of the transport; at once, by on_gone itself, when it has already. Not
  // called after the answer is complete. Replaces an earlier callback; an empty one takes it back, though a call that
  // has begun goes on.
  virtual void on_gone(std::function<void()> callback) = 0;
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0: a free one
  int io_threads = 2;
  int64_t header_bytes_max = 64 << 10;   // 431
  int32_t header_count_max = 100;        // 431
  int64_t target_bytes_max = 16 << 10;   // 414
  int64_t body_bytes_max = 256LL << 20;  // 413
  int64_t bodies_bytes_max = 1LL << 30;  // of all requests together, one of the longest at least; more: 503
  int64_t pending_bytes_max = 1 << 20;
  int32_t connections_max = 1024;  // more: 503
  int32_t header_seconds = 10, body_idle_seconds = 30, write_idle_seconds = 60, keep_alive_seconds = 75;
  bool ignore_half_close = false;  // a client that only shuts its sending side still counts as there
};

// What is decided from the head alone, before the body is read or 100 Continue is sent.
struct HttpVerdict {
  std::optional<HttpResponse> refusal;    // answers at once
  std::optional<int64_t> body_bytes_max;  // of this request; absent: HttpOptions'
};

struct HttpCallbacks {
  // On an I/O thread: must be quick.
  std::function<HttpVerdict(const HttpHead&)> gate;
  // On an I/O thread: hands the exchange to whoever answers it.
  std::function<void(std::shared_ptr<HttpExchange>)> handle;
  // What the transport refuses by itself, in words: status, and a machine-readable code ("request_too_large",
  // "headers_too_large", "uri_too_long", "request_timeout", "bad_request", "expectation_failed", "overloaded",
  // "internal_error"). The head is what could be read of it.
  std::function<HttpResponse(int status, std::string_view code, std::string_view message, const HttpHead&)> refuse;
};

}  // namespace lapidary
