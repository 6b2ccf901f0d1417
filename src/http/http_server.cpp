// Accepts connections and counts them; what happens on one is connection.cpp's.
#include "http/http_server.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "http/connection.h"
#include "http/sockets.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;
using Strand = asio::strand<asio::io_context::executor_type>;

constexpr int kAcceptBatch = 64;
constexpr int kRefusedConnectionsMax = 128;            // beyond connections_max, that hear their 503
constexpr rlim_t kOtherDescriptors = 256;              // model files, logs, fetches
constexpr std::chrono::milliseconds kAcceptPause{50};  // when there are no descriptors left

// The connections that are open.
class ConnectionSet {
 public:
  void add(const std::shared_ptr<Connection>& connection) {
    const std::lock_guard lock(mutex_);
    connections_.emplace(connection.get(), connection);
  }
  void remove(Connection* connection) {
    const std::lock_guard lock(mutex_);
    connections_.erase(connection);
  }
  int32_t size() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int32_t>(connections_.size());
  }
  std::vector<std::shared_ptr<Connection>> all() const {
    std::vector<std::shared_ptr<Connection>> found;
    const std::lock_guard lock(mutex_);
    for (const auto& [key, connection] : connections_) {
      if (auto held = connection.lock()) found.push_back(std::move(held));
    }
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections_;
};

class AsioServer final : public HttpServer {
 public:
  AsioServer(const HttpOptions& options, HttpCallbacks callbacks, const ListenSockets& sockets)
      : threads_count_(std::max(1, options.io_threads)),
        context_(std::make_shared<asio::io_context>(threads_count_)),
        shared_(std::make_shared<HttpShared>()),
        accepting_(context_->get_executor()),
        work_(context_->get_executor()),
        pause_(accepting_),
        port_(sockets.port) {
    shared_->options = options;
    shared_->callbacks = std::move(callbacks);
    // One body of the longest fits whatever is said, or it never would.
    shared_->bodies = std::make_shared<BodyBudget>(std::max(options.bodies_bytes_max, options.body_bytes_max));
    for (const int descriptor : sockets.descriptors) listeners_.emplace_back(accepting_, descriptor);
    asio::post(accepting_, [this] {
      for (Listener& listener : listeners_) wait(listener);
    });
    for (int i = 0; i < threads_count_; ++i)
      threads_.emplace_back([this] {
        ::pthread_setname_np(::pthread_self(), "io");
        context_->run();
      });
  }

  ~AsioServer() override {
    asio::post(accepting_, [this] {
      boost::system::error_code ignored;
      for (Listener& listener : listeners_) listener.close(ignored);
      pause_.cancel();
      for (const auto& connection : connections_->all()) connection->abort();
      work_.reset();
    });
    for (std::thread& thread : threads_) thread.join();
    // An exchange that somebody still holds keeps shared_, but what the callbacks hold shall end with the server.
    shared_->callbacks = {};
  }

  uint16_t port() const override { return port_; }
  int32_t connections() const override { return connections_->size(); }
  int64_t body_bytes() const override { return shared_->bodies->bytes_held(); }
  void drain() override {
    shared_->draining = true;
    for (const auto& connection : connections_->all()) connection->drain();
  }

 private:
  using Listener = asio::posix::basic_stream_descriptor<Strand>;

  void wait(Listener& listener) {
    if (!listener.is_open()) return;
    listener.async_wait(Listener::wait_read, [this, &listener](const boost::system::error_code& problem) {
      if (!problem) accept(listener);
    });
  }

  void accept(Listener& listener) {
    for (int i = 0; i < kAcceptBatch && listener.is_open(); ++i) {
      const int descriptor = ::accept4(listener.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor < 0) {
        // Without descriptors or memory the client stays in the queue, and the listener would be ready again at once.
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
          pause_.expires_after(kAcceptPause);
          pause_.async_wait([this](const boost::system::error_code& problem) {
            if (problem) return;
            for (Listener& each : listeners_) wait(each);
          });
          return;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) break;
        continue;
      }
      open(descriptor);
    }
    wait(listener);
  }

  void open(int descriptor) {
    const int32_t count = connections_->size(), limit = shared_->options.connections_max;
    if (count >= limit + kRefusedConnectionsMax) {
      ::close(descriptor);
      return;
    }
    // The set is held by the callback: a connection's last word may come after the server's.
    const std::shared_ptr<Connection> connection =
        Connection::make(context_, shared_, [set = connections_](Connection* closed) { set->remove(closed); });
    connections_->add(connection);
    connection->start(descriptor, count >= limit);
  }

  const int threads_count_;
  const std::shared_ptr<asio::io_context> context_;
  const std::shared_ptr<HttpShared> shared_;
  const std::shared_ptr<ConnectionSet> connections_ = std::make_shared<ConnectionSet>();
  Strand accepting_;  // everything about listeners
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Strand> pause_;
  std::vector<Listener> listeners_;
  std::vector<std::thread> threads_;
  const uint16_t port_;
};

// A usual soft limit of 1024 descriptors is less than connections_max and the rest of the program need.
void raise_descriptor_limit(int32_t connections_max) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = static_cast<rlim_t>(connections_max) + kRefusedConnectionsMax + kOtherDescriptors;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const HttpOptions& options, HttpCallbacks callbacks) {
  ASSIGN_OR_RETURN(const ListenSockets sockets, open_listen_sockets(options.host, options.port));
  raise_descriptor_limit(options.connections_max);
  return std::unique_ptr<HttpServer>(std::make_unique<AsioServer>(options, std::move(callbacks), sockets));
}

}  // namespace lapidary
