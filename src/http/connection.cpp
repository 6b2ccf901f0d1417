// The socket is read and written by plain recv and send, when Asio says that it can be; Asio gives the threads, the
// strand that makes one connection single-threaded, and the timer.
#include "http/connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <cerrno>
#include <chrono>

#include "http/request_body.h"
#include "http/response_head.h"
#include "http/sockets.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using Strand = asio::strand<asio::io_context::executor_type>;
using Socket = asio::basic_stream_socket<asio::ip::tcp, Strand>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Strand>;

constexpr Clock::time_point kNever = Clock::time_point::max();
constexpr size_t kReadBytes = 64 << 10;  // of one recv
constexpr int kReadsInARow = 16;
constexpr size_t kPipelineBytesMax = 64 << 10;  // read ahead while a request is being answered
constexpr int64_t kDrainBytesMax = 1 << 20;     // of a body that nobody wants
constexpr std::chrono::seconds kLinger{1};      // for a client to read the last answer before the socket closes
constexpr std::chrono::milliseconds kPeek{50};  // between looks at a client that cannot be seen leaving by reading

class TcpConnection final : public Connection, public std::enable_shared_from_this<TcpConnection> {
 public:
  TcpConnection(std::shared_ptr<asio::io_context> context, std::shared_ptr<const HttpShared> shared,
                std::function<void(Connection*)> closed)
      : context_(std::move(context)),
        shared_(std::move(shared)),
        strand_(context_->get_executor()),
        socket_(strand_),
        timer_(strand_),
        closed_(std::move(closed)),
        reader_(shared_->options) {}

  void start(int descriptor, bool overloaded) override {
    asio::post(strand_, [self = shared_from_this(), descriptor, overloaded] { self->take(descriptor, overloaded); });
  }
  void drain() override {
    asio::post(strand_, [self = shared_from_this()] {
      if (self->state_ == State::kHead && self->in_.empty()) self->close();
    });
  }
  void abort() override {
    asio::post(strand_, [self = shared_from_this()] { self->lose(); });
  }

 private:
  enum class State : uint8_t {
    kHead,    // between requests, or in a head
    kBody,    // in a body that is wanted, or that is drained
    kAnswer,  // exchange_ is being answered; without one, the transport's own answer is on its way
    kLinger,  // everything is said; waits for the client to close first
    kClosed,
  };
  enum class Step : uint8_t { kAgain, kWait };

  void take(int descriptor, bool overloaded);

  // Reading
  bool wants_bytes() const;
  void wait_readable();
  void on_readable();
  void on_eof();
  void advance();
  Step read_head();
  Step read_body();
  void begin_request();
  void begin_body(RequestHead head);
  void hand_over();

  // Writing
  void refuse(int status, std::string_view code, std::string_view message, const HttpHead& head, bool close);
  void answer_own(const HttpResponse& response, bool close);
  void flush();
  bool fill_sending();
  void answer_is_out();

  // The end, and the time
  void lose();
  void end_connection();
  void close();
  const HttpOptions& options() const { return shared_->options; }
  void set_read_deadline(int seconds) { set_deadline(read_deadline_, Clock::now() + std::chrono::seconds(seconds)); }
  void set_deadline(Clock::time_point& deadline, Clock::time_point at);
  void arm_timer(Clock::time_point at);
  void on_timer();
  void time_is_up();
  void peek();

  std::shared_ptr<asio::io_context> context_;
  const std::shared_ptr<const HttpShared> shared_;
  Strand strand_;
  Socket socket_;
  Timer timer_;
  std::function<void(Connection*)> closed_;
  std::string client_;
  State state_ = State::kHead;

  std::string in_;  // bytes that came and are not used yet
  bool reading_ = false, eof_ = false, advancing_ = false;
  bool first_request_ = true, head_begun_ = false, body_read_ = false;
  HeadReader reader_;
  RequestHead head_;  // of the body that is being read
  BodyReader body_;
  int64_t linger_bytes_ = 0;  // read over since the last answer

  std::shared_ptr<Exchange> exchange_;
  bool own_keep_alive_ = false;
  std::string sending_;
  size_t sent_ = 0;
  bool writing_ = false;  // waits until the socket takes more

  Clock::time_point read_deadline_ = kNever, write_deadline_ = kNever, peek_at_ = kNever, timer_at_ = kNever;
};

void TcpConnection::take(int descriptor, bool overloaded) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
  boost::system::error_code problem;
  socket_.assign(address.ss_family == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(), descriptor, problem);
  if (problem) {
    ::close(descriptor);
    return close();
  }
  set_client_options(descriptor, options().write_idle_seconds);
  client_ = peer_address(descriptor);
  begin_request();
  if (overloaded) {
    refuse(503, "overloaded", fmt::format("more than {} connections", options().connections_max), HttpHead{}, true);
  }
  advance();
}

// --- Reading

bool TcpConnection::wants_bytes() const {
  if (eof_ || state_ == State::kClosed) return false;
  if (state_ == State::kAnswer) return in_.size() < kPipelineBytesMax;
  if (state_ == State::kLinger) return linger_bytes_ <= kDrainBytesMax;
  return true;
}

void TcpConnection::wait_readable() {
  if (reading_) return;
  if (!wants_bytes()) {
    // Reading would tell that the client has left, but nothing more may be read: ask the socket now and then.
    if (state_ == State::kAnswer && exchange_ && peek_at_ == kNever) set_deadline(peek_at_, Clock::now() + kPeek);
    return;
  }
  reading_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const boost::system::error_code& problem) {
    self->reading_ = false;
    if (!problem) self->on_readable();
  });
}

void TcpConnection::on_readable() {
  if (!wants_bytes()) return wait_readable();
  thread_local std::array<char, kReadBytes> scratch;
  // A large body is read several times in a row: going back to wait costs more than reading.
  for (int i = 0; i < kReadsInARow; ++i) {
    const ssize_t got = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return lose();
      break;
    }
    if (got == 0) {
      eof_ = true;
      break;
    }
    if (state_ == State::kLinger) {
      linger_bytes_ += got;
      break;
    }
    in_.append(scratch.data(), static_cast<size_t>(got));
    if (state_ != State::kBody) break;
    set_read_deadline(options().body_idle_seconds);
    if (static_cast<int64_t>(in_.size()) >= body_.bytes_left()) break;
  }
  advance();
  if (eof_) on_eof();
}

// Nothing more will come, and what came has been made use of.
void TcpConnection::on_eof() {
  if (state_ != State::kAnswer) return close();
  if (exchange_ && !exchange_->complete() && !options().ignore_half_close) lose();
}

// Does what the bytes at hand allow, then waits for more.
void TcpConnection::advance() {
  advancing_ = true;
  Step step = Step::kAgain;
  while (step == Step::kAgain) {
    step = state_ == State::kHead ? read_head() : state_ == State::kBody ? read_body() : Step::kWait;
  }
  advancing_ = false;
  if (state_ != State::kClosed) wait_readable();
}

void TcpConnection::begin_request() {
  state_ = State::kHead;
  reader_ = HeadReader(options());
  body_read_ = false;
  head_begun_ = !in_.empty();
  if (in_.empty() && in_.capacity() > (4 << 10)) in_ = {};
  set_read_deadline(first_request_ || head_begun_ ? options().header_seconds : options().keep_alive_seconds);
}

TcpConnection::Step TcpConnection::read_head() {
  if (!in_.empty() && !head_begun_) {
    head_begun_ = true;
    set_read_deadline(options().header_seconds);
  }
  const HttpProgress progress = reader_.read(in_);
  if (progress == HttpProgress::kMore) {
    if (eof_ || (in_.empty() && shared_->draining && !first_request_)) close();
    return Step::kWait;
  }
  reader_.head().http.client = client_;
  if (progress == HttpProgress::kRefused) {
    const HttpRefusal& why = reader_.refusal();
    refuse(why.status, why.code, why.message, reader_.head().http, true);
    return Step::kAgain;
  }
  in_.erase(0, reader_.size());
  begin_body(std::move(reader_.head()));
  return Step::kAgain;
}

// Decides from the head alone whether the body is read, read over or left.
void TcpConnection::begin_body(RequestHead head) {
  first_request_ = false;
  head_ = std::move(head);
  state_ = State::kBody;
  set_read_deadline(options().body_idle_seconds);

  HttpVerdict verdict;
  if (shared_->callbacks.gate) verdict = shared_->callbacks.gate(head_.http);
  const int64_t bytes_max = verdict.body_bytes_max.value_or(options().body_bytes_max);
  body_ = BodyReader(std::move(reader_.parser()), bytes_max, shared_->bodies);
  if (verdict.refusal) return answer_own(*verdict.refusal, verdict.refusal->close);
  if (body_.bytes_left() > bytes_max) {
    return refuse(413, "request_too_large",
                  fmt::format("the body has {} bytes, at most {} are accepted", body_.bytes_left(), bytes_max),
                  head_.http, false);
  }
  if (body_.bytes_left() > shared_->bodies->bytes_free()) {
    const HttpRefusal full = no_room_for_body(body_.bytes_left(), *shared_->bodies);
    return refuse(full.status, full.code, full.message, head_.http, false);
  }
  if (!head_.expects_continue || !body_.expected() || !in_.empty()) return;
  sending_ += "HTTP/1.1 100 Continue\r\n\r\n";
  flush();
}

TcpConnection::Step TcpConnection::read_body() {
  const HttpProgress progress = body_.read(in_);
  // A burst of a body makes this large, and 1000 connections would each keep theirs.
  if (in_.size() < kReadBytes && in_.capacity() > kReadBytes) in_.shrink_to_fit();
  if (progress == HttpProgress::kMore) return Step::kWait;
  if (progress == HttpProgress::kRefused && !body_.discarding()) {
    const HttpRefusal why = body_.refusal();
    refuse(why.status, why.code, why.message, head_.http, true);
    return Step::kAgain;
  }
  read_deadline_ = kNever;
  state_ = State::kAnswer;
  body_read_ = progress == HttpProgress::kDone;
  if (body_.discarding()) {
    own_keep_alive_ = own_keep_alive_ && body_read_;
    answer_is_out();
  } else {
    hand_over();
  }
  return Step::kAgain;
}

void TcpConnection::hand_over() {
  exchange_ = std::make_shared<Exchange>(shared_, std::move(head_), body_.take());
  exchange_->attach([self = shared_from_this()] { asio::post(self->strand_, [self] { self->flush(); }); });
  if (shared_->callbacks.handle) shared_->callbacks.handle(Exchange::handle(exchange_));
  flush();
}

// --- Writing

void TcpConnection::refuse(int status, std::string_view code, std::string_view message, const HttpHead& head,
                           bool close) {
  HttpResponse response{.status = status};
  if (shared_->callbacks.refuse) {
    response = shared_->callbacks.refuse(status, code, message, head);
  } else {
    response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
    response.body = std::string(message) + "\n";
  }
  answer_own(response, close || response.close);
}

// An answer of the transport's own, or of the gate, while the body has not been read. What is left of the body is read
// over when it is short, so that the connection can go on; otherwise the connection ends.
void TcpConnection::answer_own(const HttpResponse& response, bool close) {
  const bool in_body = state_ == State::kBody;
  own_keep_alive_ = !close && in_body && head_.keep_alive && !shared_->draining && !head_.expects_continue &&
                    body_.bytes_left() <= kDrainBytesMax;
  const int version = in_body ? head_.http.version : 11;
  sending_ += response_head(response, BodyFraming::kLength, version, own_keep_alive_);
  const bool head_only = in_body ? head_.http.method == "HEAD" : reader_.head().http.method == "HEAD";
  if (!head_only && status_has_body(response.status)) sending_ += response.body;
  read_deadline_ = kNever;
  if (own_keep_alive_) {
    body_.discard(kDrainBytesMax);
    set_read_deadline(options().body_idle_seconds);
  } else {
    body_.drop();
    state_ = State::kAnswer;
  }
  flush();
}

// Sends until everything is out or the socket is full.
void TcpConnection::flush() {
  if (state_ == State::kClosed) return;
  // A client that reads too slowly is noticed although nothing can be sent to it.
  if (writing_) {
    if (exchange_ && exchange_->overrun()) lose();
    return;
  }
  while (fill_sending()) {
    const ssize_t put =
        ::send(socket_.native_handle(), sending_.data() + sent_, sending_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return lose();
      writing_ = true;
      if (write_deadline_ == kNever)
        set_deadline(write_deadline_, Clock::now() + std::chrono::seconds(options().write_idle_seconds));
      socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const boost::system::error_code& problem) {
        self->writing_ = false;
        if (!problem) self->flush();
      });
      return;
    }
    sent_ += static_cast<size_t>(put);
    write_deadline_ = kNever;
    if (exchange_) exchange_->sent(static_cast<size_t>(put));
  }
}

// True when sending_ has bytes for the socket.
bool TcpConnection::fill_sending() {
  if (state_ == State::kClosed) return false;
  if (sent_ < sending_.size()) return true;
  sending_.clear();
  sent_ = 0;
  if (sending_.capacity() > kReadBytes) sending_ = {};
  if (!exchange_) {
    answer_is_out();
    return false;
  }
  switch (exchange_->take(sending_)) {
    case Exchange::Take::kBytes:
      return true;
    case Exchange::Take::kNothing:
      return false;
    case Exchange::Take::kComplete:
      answer_is_out();
      return false;
    case Exchange::Take::kAbandoned: {
      // Whoever had to answer let it go: say so while it can still be said, else break the stream off.
      const bool begun = exchange_->begun();
      const HttpHead head = exchange_->head();
      exchange_->detach();
      exchange_.reset();
      if (begun) {
        close();
      } else {
        refuse(500, "internal_error", "the request was dropped without an answer", head, true);
      }
      return false;
    }
    case Exchange::Take::kOverrun:
      lose();
      return false;
  }
  return false;
}

// Everything that was to be sent is with the kernel.
void TcpConnection::answer_is_out() {
  if (state_ != State::kAnswer || sent_ < sending_.size()) return;
  bool keep_alive = own_keep_alive_;
  if (exchange_) {
    keep_alive = exchange_->keep_alive();
    exchange_->detach();
    exchange_.reset();
  }
  peek_at_ = kNever;
  if (!keep_alive) return end_connection();
  begin_request();
  if (!advancing_) advance();  // the next request may be here already
}

// --- The end, and the time

// The client is not there any more.
void TcpConnection::lose() {
  if (state_ == State::kClosed) return;
  const std::shared_ptr<Exchange> exchange = exchange_;
  // Unsent bytes are for nobody: a reset frees the kernel's copy, too.
  if (writing_) {
    boost::system::error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  }
  close();
  if (exchange) exchange->lose();
}

// After the last answer. Closing a socket with unread bytes resets it, and the answer could be lost with it: such a
// client gets a moment to read.
void TcpConnection::end_connection() {
  if (eof_ || (body_read_ && in_.empty())) return close();
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  state_ = State::kLinger;
  in_ = {};
  set_deadline(read_deadline_, Clock::now() + kLinger);
  wait_readable();
}

void TcpConnection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  boost::system::error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  if (exchange_) exchange_->detach();
  exchange_.reset();
  body_.drop();
  in_ = {};
  if (closed_) std::exchange(closed_, nullptr)(this);
}

void TcpConnection::set_deadline(Clock::time_point& deadline, Clock::time_point at) {
  deadline = at;
  if (at < timer_at_) arm_timer(at);
}

// The timer is moved only to ring earlier: deadlines that move on are looked at when it rings.
void TcpConnection::arm_timer(Clock::time_point at) {
  timer_at_ = at;
  timer_.expires_at(at);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& problem) {
    if (!problem) self->on_timer();
  });
}

void TcpConnection::on_timer() {
  if (state_ == State::kClosed) return;
  timer_at_ = kNever;
  const Clock::time_point now = Clock::now();
  if (now >= write_deadline_) return lose();
  if (now >= read_deadline_) {
    read_deadline_ = kNever;
    time_is_up();
  }
  if (now >= peek_at_) peek();
  if (state_ == State::kClosed) return;
  const Clock::time_point next = std::min({read_deadline_, write_deadline_, peek_at_});
  if (next < timer_at_) arm_timer(next);
}

// The bytes that were waited for did not come.
void TcpConnection::time_is_up() {
  if (state_ == State::kLinger || (state_ == State::kHead && in_.empty()) || body_.discarding()) return close();
  if (state_ == State::kHead) {
    refuse(408, "request_timeout",
           fmt::format("the head of the request was not complete after {} seconds", options().header_seconds),
           reader_.head().http, true);
  } else if (state_ == State::kBody) {
    refuse(408, "request_timeout", fmt::format("nothing of the body came for {} seconds", options().body_idle_seconds),
           head_.http, true);
  }
}

// Looks whether the client has left without reading what it sent.
void TcpConnection::peek() {
  peek_at_ = kNever;
  if (state_ != State::kAnswer || !exchange_ || exchange_->complete()) return;
  if (peer_has_left(socket_.native_handle(), options().ignore_half_close)) return lose();
  wait_readable();
}

}  // namespace

std::shared_ptr<Connection> Connection::make(std::shared_ptr<asio::io_context> context,
                                             std::shared_ptr<const HttpShared> shared,
                                             std::function<void(Connection*)> closed) {
  return std::make_shared<TcpConnection>(std::move(context), std::move(shared), std::move(closed));
}

}  // namespace lapidary
