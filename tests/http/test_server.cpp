#include "http/test_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <utility>

namespace lapidary {

using Clock = std::chrono::steady_clock;

namespace {

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

std::string RawResponse::header(std::string_view name) const {
  const std::string* found = find_header(headers, name);
  return found != nullptr ? *found : "(absent)";
}

RawClient::RawClient(uint16_t port, const char* address) {
  sockaddr_in six_or_four{};
  sockaddr_in6 six{};
  six_or_four.sin_family = AF_INET;
  six_or_four.sin_port = htons(port);
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  const bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
  if (!is_six) inet_pton(AF_INET, address, &six_or_four.sin_addr);
  descriptor_ = ::socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr* to = is_six ? reinterpret_cast<sockaddr*>(&six) : reinterpret_cast<sockaddr*>(&six_or_four);
  if (descriptor_ < 0 || ::connect(descriptor_, to, is_six ? sizeof six : sizeof six_or_four) != 0) close();
  const int on = 1;
  if (descriptor_ >= 0) setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

RawClient::~RawClient() { close(); }
RawClient::RawClient(RawClient&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), buffer_(std::move(other.buffer_)), ended_(other.ended_) {}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

void RawClient::shut_sending() { ::shutdown(descriptor_, SHUT_WR); }

void RawClient::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

void RawClient::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

void RawClient::shrink_receive_buffer() {
  const int bytes = 4096;
  setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

bool RawClient::receive(Clock::time_point until) {
  if (ended_ || descriptor_ < 0) return false;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd look{.fd = descriptor_, .events = POLLIN};
  if (left < 0 || ::poll(&look, 1, static_cast<int>(left)) <= 0) return false;
  thread_local std::array<char, 256 << 10> bytes;
  const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
  if (got <= 0) {
    ended_ = true;
    return false;
  }
  buffer_.append(bytes.data(), static_cast<size_t>(got));
  return true;
}

RawResponse RawClient::read_response(bool head_only, double seconds) {
  const Clock::time_point until = after(seconds);
  RawResponse response;
  size_t end;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!receive(until)) return response;
  }
  const std::string head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  response.status = std::atoi(head.c_str() + 9);
  for (size_t at = head.find("\r\n") + 2; at < head.size();) {
    const size_t line_end = head.find("\r\n", at), colon = head.find(": ", at);
    response.headers.emplace_back(head.substr(at, colon - at), head.substr(colon + 2, line_end - colon - 2));
    at = line_end + 2;
  }
  const bool chunked = response.header("transfer-encoding") == "chunked";
  const std::string length = response.header("content-length");
  if (head_only || response.status < 200 || response.status == 204) {
    response.complete = true;
  } else if (chunked) {
    for (;;) {
      size_t line;
      while ((line = buffer_.find("\r\n")) == std::string::npos) {
        if (!receive(until)) return response;
      }
      const size_t size = std::strtoul(buffer_.c_str(), nullptr, 16);
      while (buffer_.size() < line + 2 + size + 2) {
        if (!receive(until)) return response;
      }
      EXPECT_EQ(buffer_.substr(line + 2 + size, 2), "\r\n");
      if (size > 0) response.chunks.push_back(buffer_.substr(line + 2, size));
      buffer_.erase(0, line + 2 + size + 2);
      if (size == 0) break;
      response.body += response.chunks.back();
    }
    response.complete = true;
  } else if (length != "(absent)") {
    const size_t size = std::strtoul(length.c_str(), nullptr, 10);
    while (buffer_.size() < size) {
      if (!receive(until)) return response;
    }
    response.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    response.complete = true;
  } else {
    while (receive(until)) continue;
    response.body = std::exchange(buffer_, {});
    response.complete = ended_;
  }
  return response;
}

std::string RawClient::read_some(size_t bytes, double seconds) {
  const Clock::time_point until = after(seconds);
  while (buffer_.size() < bytes && receive(until)) continue;
  return std::exchange(buffer_, {});
}

bool RawClient::closed_within(double seconds, std::string* rest) {
  const Clock::time_point until = after(seconds);
  while (receive(until)) continue;
  if (rest != nullptr) *rest = buffer_;
  return ended_;
}

std::string get(std::string_view target, std::string_view more_headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", target, more_headers);
}

std::string post(std::string_view target, std::string_view body, std::string_view more_headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}", target, body.size(),
                     more_headers, body);
}

TestServer::TestServer(HttpOptions options) {
  options.port = 0;
  HttpCallbacks callbacks;
  callbacks.gate = [this](const HttpHead& head) { return gate(head); };
  callbacks.handle = [this](std::shared_ptr<HttpExchange> exchange) { handle(std::move(exchange)); };
  callbacks.refuse = [](int status, std::string_view code, std::string_view message, const HttpHead&) {
    return HttpResponse{.status = status, .headers = {{"X-Code", std::string(code)}}, .body = std::string(message)};
  };
  auto listening = HttpServer::listen(options, std::move(callbacks));
  EXPECT_TRUE(listening) << listening.error().message;
  server = std::move(*listening);
}

TestServer::~TestServer() { server.reset(); }

HttpVerdict TestServer::gate(const HttpHead& head) {
  ++gated;
  HttpVerdict verdict;
  if (head.target == "/refused") verdict.refusal = HttpResponse{.status = 401, .body = "no"};
  if (head.target == "/small") verdict.body_bytes_max = 10;
  return verdict;
}

// /echo: method, target and body. /hold: waits, see held(). /drop: nobody answers. /stream/N: N pieces at once.
// /big/N: one body of N bytes. Anything else: "hello".
void TestServer::handle(std::shared_ptr<HttpExchange> exchange) {
  ++requests;
  const std::string& target = exchange->head().target;
  if (target == "/echo") {
    exchange->respond({.body = exchange->head().method + " " + exchange->body()});
  } else if (target == "/hold") {
    exchange->on_gone([this] { ++gone; });
    const std::lock_guard lock(mutex_);
    held_.push_back(std::move(exchange));
  } else if (target == "/drop") {
    return;
  } else if (target.rfind("/stream/", 0) == 0) {
    exchange->begin({.headers = {{"Content-Type", "text/event-stream"}}});
    for (int i = 0; i < std::atoi(target.c_str() + 8); ++i) exchange->write(fmt::format("data: {}\n\n", i));
    exchange->end();
  } else if (target.rfind("/big/", 0) == 0) {
    exchange->respond({.body = std::string(std::strtoul(target.c_str() + 5, nullptr, 10), 'x')});
  } else {
    exchange->respond({.body = "hello"});
  }
}

std::shared_ptr<HttpExchange> TestServer::held(size_t index, double seconds) {
  std::shared_ptr<HttpExchange> found;
  wait_until(
      [&] {
        const std::lock_guard lock(mutex_);
        if (index < held_.size()) found = held_[index];
        return found != nullptr;
      },
      seconds);
  EXPECT_NE(found, nullptr);
  return found;
}

double wait_until(const std::function<bool()>& condition, double seconds) {
  const Clock::time_point begin = Clock::now(), until = after(seconds);
  for (;;) {
    if (condition()) return std::chrono::duration<double>(Clock::now() - begin).count();
    if (Clock::now() > until) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace lapidary
