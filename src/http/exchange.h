// One request and the bytes of its answer on their way from any thread to the connection's strand. Knows how an answer
// is framed; knows no socket.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "http/http.h"
#include "http/request_head.h"
#include "http/response_head.h"

namespace lapidary {

// What all connections of a server share.
struct HttpShared {
  HttpOptions options;
  HttpCallbacks callbacks;
  std::shared_ptr<BodyBudget> bodies;  // what a handler holds may outlive the server
  std::atomic<bool> draining = false;
};

class Exchange final : public HttpExchange {
 public:
  Exchange(std::shared_ptr<const HttpShared> shared, RequestHead head, HttpBody body);

  const HttpHead& head() const override { return head_.http; }
  const std::string& body() const override { return body_.bytes; }
  HttpBody take_body() override { return std::exchange(body_, {}); }
  void respond(HttpResponse response) override;
  void begin(HttpResponse response) override;
  void write(std::string piece) override;
  void end() override;
  bool gone() const override;
  int64_t pending_bytes() const override;
  void on_gone(std::function<void()> callback) override;

  // The rest is for the connection, on its strand.

  // The exchange as its handler holds it: when the last copy goes and there is no answer, the connection learns of it.
  static std::shared_ptr<HttpExchange> handle(const std::shared_ptr<Exchange>& exchange);

  // `wake` is called, from any thread and with a lock held, when take() has something new to say. Not before the first
  // take(), which the connection makes by itself.
  void attach(std::function<void()> wake);

  enum class Take : uint8_t {
    kBytes,      // `bytes` is what to send next
    kNothing,    // wait for wake
    kComplete,   // all of the answer was taken
    kAbandoned,  // nobody is left to answer
    kOverrun,    // the client reads too slowly
  };
  Take take(std::string& bytes);  // `bytes` is empty before
  void sent(size_t bytes);
  bool overrun() const;
  bool begun() const;
  bool complete() const;    // answered, though perhaps not yet sent
  bool keep_alive() const;  // what the head of the answer promised
  // The client has gone; calls the callback. The exchange forgets its connection.
  void lose();
  // The answer is out. The exchange forgets its connection.
  void detach();

 private:
  enum class Stage : uint8_t { kWaiting, kStreaming, kEnded };
  using Clock = std::chrono::steady_clock;

  void begin_locked(HttpResponse& response, BodyFraming framing);
  void append_piece(std::string_view piece);
  void poke();
  void abandon();

  const std::shared_ptr<const HttpShared> shared_;
  const RequestHead head_;
  HttpBody body_;
  const bool head_only_;

  mutable std::mutex mutex_;
  std::function<void()> wake_;
  bool poked_ = true;  // the connection will look anyway
  Stage stage_ = Stage::kWaiting;
  BodyFraming framing_ = BodyFraming::kLength;
  bool keep_alive_ = false;
  bool has_body_ = true;
  bool gone_ = false, abandoned_ = false, overrun_ = false;
  std::string out_;            // not taken yet
  int64_t pending_bytes_ = 0;  // out_ and what was taken and is not sent
  Clock::time_point over_since_ = Clock::time_point::max();
  std::function<void()> on_gone_;
};

}  // namespace lapidary
