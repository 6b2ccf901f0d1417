#include "http/sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lapidary {
namespace {

void set_port(sockaddr_storage& address, uint16_t port) {
  if (address.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  if (address.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);
}

uint16_t bound_port(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                            : reinterpret_cast<sockaddr_in6&>(address).sin6_port);
}

// A descriptor that listens, or -1 with errno.
int open_one(const addrinfo& info, uint16_t port) {
  const int descriptor = ::socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  const int on = 1, off = 0;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // "::" takes IPv4 as well, whatever the machine's default is.
  if (info.ai_family == AF_INET6) setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_storage address{};
  std::memcpy(&address, info.ai_addr, info.ai_addrlen);
  set_port(address, port);
  if (::bind(descriptor, reinterpret_cast<sockaddr*>(&address), info.ai_addrlen) != 0 ||
      ::listen(descriptor, SOMAXCONN) != 0) {
    const int problem = errno;
    ::close(descriptor);
    errno = problem;
    return -1;
  }
  return descriptor;
}

bool seen_before(const addrinfo* first, const addrinfo* info) {
  for (; first != info; first = first->ai_next) {
    if (first->ai_addrlen == info->ai_addrlen && std::memcmp(first->ai_addr, info->ai_addr, info->ai_addrlen) == 0)
      return true;
  }
  return false;
}

// Listens on every address of the list. 0, or the errno of what is in the way.
int open_all(const addrinfo* found, uint16_t port, ListenSockets& sockets) {
  sockets = {.port = port};
  int absent = EADDRNOTAVAIL;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) || seen_before(found, info)) continue;
    const int descriptor = open_one(*info, sockets.port);
    if (descriptor >= 0) {
      sockets.descriptors.push_back(descriptor);
      if (sockets.port == 0) sockets.port = bound_port(descriptor);
      continue;
    }
    const int problem = errno;
    // A name may have an address that is not there, as ::1 without IPv6; a port that is taken is another matter.
    if (problem == EADDRNOTAVAIL || problem == EAFNOSUPPORT) {
      absent = problem;
      continue;
    }
    for (const int open : sockets.descriptors) ::close(open);
    sockets.descriptors.clear();
    return problem;
  }
  return sockets.descriptors.empty() ? absent : 0;
}

}  // namespace

Result<ListenSockets> open_listen_sockets(const std::string& host, uint16_t port) {
  const auto where = [&] { return fmt::format("cannot listen on {} port {}: ", host, port); };
  std::string name = host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  if (name.empty() || name.size() > 253)
    return Error{ErrorCode::kInvalidArgument, where() + "expected an address or a name of this machine"};
  if (const int problem = getaddrinfo(name.c_str(), nullptr, &hints, &found); problem != 0)
    return Error{ErrorCode::kInvalidArgument, where() + gai_strerror(problem)};

  ListenSockets sockets;
  int problem = 0;
  // A free port of the first address may be taken on the second.
  for (int tries = 0; tries < (port == 0 ? 8 : 1); ++tries) {
    problem = open_all(found, port, sockets);
    if (problem != EADDRINUSE) break;
  }
  freeaddrinfo(found);
  if (problem == 0) return sockets;
  if (problem == EADDRINUSE) return Error{ErrorCode::kExhausted, where() + "the port is taken"};
  if (problem == EADDRNOTAVAIL)
    return Error{ErrorCode::kInvalidArgument, where() + "the host is no address of this machine"};
  return Error{ErrorCode::kInvalidArgument, where() + std::strerror(problem)};
}

void set_client_options(int descriptor, int silence_seconds) {
  constexpr int kProbeIdleSeconds = 30, kProbeSeconds = 10;
  const auto set = [&](int level, int option, int value) {
    setsockopt(descriptor, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kProbeIdleSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, silence_seconds * 1000);
}

std::string peer_address(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char text[INET6_ADDRSTRLEN] = "";
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(address).sin_addr, text, sizeof text);
  } else if (address.ss_family == AF_INET6) {
    const in6_addr& six = reinterpret_cast<sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&six)) {
      inet_ntop(AF_INET, &six.s6_addr[12], text, sizeof text);
    } else {
      inet_ntop(AF_INET6, &six, text, sizeof text);
    }
  }
  return text;
}

bool peer_has_left(int descriptor, bool ignore_half_close) {
  pollfd look{.fd = descriptor, .events = POLLRDHUP};
  const int leaving = POLLERR | POLLHUP | (ignore_half_close ? 0 : POLLRDHUP);
  return ::poll(&look, 1, 0) > 0 && (look.revents & leaving) != 0;
}

}  // namespace lapidary
