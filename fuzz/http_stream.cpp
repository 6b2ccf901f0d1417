// Bytes as what a client sends: through the parsers, whole and in pieces, which must agree; and through a real server.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/http_server.h"
#include "http/request_head.h"
#include "http/request_parser.h"

namespace lapidary {
namespace {

const HttpOptions kOptions{.port = 0,
                           .io_threads = 1,
                           .header_bytes_max = 2048,
                           .header_count_max = 20,
                           .target_bytes_max = 512,
                           .body_bytes_max = 1 << 20,
                           .ignore_half_close = true};

// Feeds `bytes` up to a growing end, as they would arrive.
HttpProgress read_head(HeadReader& reader, std::string_view bytes, size_t step) {
  for (size_t end = 0;; end += step) {
    const HttpProgress progress = reader.read(bytes.substr(0, end));
    if (progress != HttpProgress::kMore || end >= bytes.size()) return progress;
  }
}

// What is not taken is shown again, with more behind it.
HttpProgress read_body(RequestParser& parser, std::string_view bytes, size_t step, std::string& body, size_t& used) {
  HttpProgress progress = HttpProgress::kMore;
  size_t end = 0;
  for (used = 0; end < bytes.size() && progress == HttpProgress::kMore;) {
    end = std::min(bytes.size(), end + step);
    std::string_view in = bytes.substr(used, end - used);
    progress = parser.read_body(in, &body, 1 << 20);
    used = end - in.size();
  }
  return progress;
}

void parse(std::string_view bytes) {
  HeadReader whole(kOptions), pieces(kOptions);
  const HttpProgress progress = read_head(whole, bytes, bytes.size() + 1);
  CHECK(read_head(pieces, bytes, 1) == progress);
  if (progress == HttpProgress::kRefused) {
    CHECK(whole.refusal().status == pieces.refusal().status && whole.refusal().message == pieces.refusal().message);
  }
  if (progress != HttpProgress::kDone) return;
  CHECK(whole.size() == pieces.size() && whole.size() <= bytes.size());
  CHECK(whole.head().http.headers == pieces.head().http.headers);
  CHECK(whole.head().http.target == pieces.head().http.target && !whole.head().http.target.empty());
  RequestParser& one_parser = whole.parser();
  RequestParser& other_parser = pieces.parser();
  CHECK(one_parser.chunked() == other_parser.chunked() && one_parser.bytes_left() == other_parser.bytes_left());
  CHECK(!(one_parser.chunked() && one_parser.bytes_left() > 0));
  std::string one, other;
  size_t one_used = 0, other_used = 0;
  const HttpProgress one_end = read_body(one_parser, bytes.substr(whole.size()), bytes.size(), one, one_used);
  const HttpProgress other_end = read_body(other_parser, bytes.substr(whole.size()), 1, other, other_used);
  // Damage may show sooner or later, as much is at hand: a quoted extension is looked for behind its line. What is a
  // whole body may not depend on it.
  CHECK((one_end == HttpProgress::kDone) == (other_end == HttpProgress::kDone));
  CHECK(one.starts_with(other) || other.starts_with(one));
  if (one_end == HttpProgress::kDone) CHECK(one == other && one_used == other_used);
}

HttpServer& server() {
  static const std::unique_ptr<HttpServer> instance = [] {
    HttpCallbacks callbacks;
    callbacks.handle = [](const std::shared_ptr<HttpExchange>& exchange) {
      CHECK(static_cast<int64_t>(exchange->body().size()) <= kOptions.body_bytes_max);
      if (exchange->body().size() % 2 == 0) return exchange->respond({.body = exchange->body()});
      exchange->begin({.body = exchange->body()});
      exchange->write("more");
      exchange->end();
    };
    auto listening = HttpServer::listen(kOptions, std::move(callbacks));
    CHECK(listening.has_value());
    return *std::move(listening);
  }();
  return *instance;
}

// Says everything, stops speaking, and listens until the server has said everything as well.
void converse(std::string_view bytes) {
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server().port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const timeval patience{.tv_sec = 20, .tv_usec = 0};
  setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  // The inputs are shorter than the buffers of the two sockets: this never waits for the server to read.
  if (bytes.size() <= (16 << 10)) ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  ::shutdown(client, SHUT_WR);
  std::string answer;
  char piece[4096];
  ssize_t got;
  while ((got = ::recv(client, piece, sizeof piece, 0)) > 0) answer.append(piece, static_cast<size_t>(got));
  CHECK(got == 0 || errno == ECONNRESET);  // not a silence of 20 seconds
  ::close(client);
  CHECK(answer.empty() || answer.rfind("HTTP/1.1 ", 0) == 0);
  CHECK(answer.rfind("HTTP/1.1 500", 0) != 0);
}

}  // namespace
}  // namespace lapidary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  lapidary::parse(bytes);
  lapidary::converse(bytes);
  return 0;
}
