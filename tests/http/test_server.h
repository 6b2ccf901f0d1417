// A server of our own at a free port, and a client that says exactly the bytes it is told to.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "http/http_server.h"

namespace lapidary {

struct RawResponse {
  int status = 0;
  Headers headers;
  std::string body;                 // without its transfer coding
  std::vector<std::string> chunks;  // of a chunked body, as they were framed
  bool complete = false;            // the head and all of the body came

  std::string header(std::string_view name) const;
};

class RawClient {
 public:
  explicit RawClient(uint16_t port, const char* address = "127.0.0.1");
  ~RawClient();
  RawClient(RawClient&& other) noexcept;
  RawClient(const RawClient&) = delete;

  bool connected() const { return descriptor_ >= 0; }
  bool send(std::string_view bytes);  // all of them; false when the other end is gone
  void shut_sending();
  void reset();  // RST instead of FIN
  void close();
  void shrink_receive_buffer();

  // Reads one response; head_only for answers to HEAD. Bytes behind it are kept for the next.
  RawResponse read_response(bool head_only = false, double seconds = 10);
  // Waits until so many bytes lie there; what came until then or until the end.
  std::string read_some(size_t bytes, double seconds = 10);
  // True when the server has closed, with whatever came before.
  bool closed_within(double seconds, std::string* rest = nullptr);

 private:
  bool receive(std::chrono::steady_clock::time_point until);  // false: nothing more

  int descriptor_ = -1;
  std::string buffer_;
  bool ended_ = false;
};

// GET / with Host, or POST of a body.
std::string get(std::string_view target, std::string_view more_headers = "");
std::string post(std::string_view target, std::string_view body, std::string_view more_headers = "");

// Answers by the path: see test_server.cpp.
class TestServer {
 public:
  explicit TestServer(HttpOptions options = {});
  ~TestServer();

  uint16_t port() const { return server->port(); }
  HttpVerdict gate(const HttpHead& head);
  void handle(std::shared_ptr<HttpExchange> exchange);
  // Of /hold: the exchanges that wait for an answer.
  std::shared_ptr<HttpExchange> held(size_t index, double seconds = 5);

  std::atomic<int> requests = 0, gated = 0, gone = 0;
  std::unique_ptr<HttpServer> server;

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<HttpExchange>> held_;
};

// Polls until the condition holds; how long that took in seconds, or a negative number.
double wait_until(const std::function<bool()>& condition, double seconds = 5);

}  // namespace lapidary
