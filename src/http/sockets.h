// Sockets that listen on a host and port, and what is known about the other end of one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace lapidary {

struct ListenSockets {
  std::vector<int> descriptors;  // one for each address of the host; non-blocking; the caller closes them
  uint16_t port = 0;
};

// host: an address ("::1", "[::1]", "0.0.0.0") or a name of this machine. Errors: as HttpServer::listen.
Result<ListenSockets> open_listen_sockets(const std::string& host, uint16_t port);

// Small writes go out at once, and a client whose machine or network has vanished is noticed: when it acknowledges
// nothing for so many seconds, or has nothing to acknowledge and does not answer probes.
void set_client_options(int descriptor, int silence_seconds);

// What a socket's other end is called: "127.0.0.1", "::1"; an IPv4 client of an IPv6 socket by its IPv4 address.
std::string peer_address(int descriptor);

// True when the other end has closed or reset the connection, or shut its sending side unless that is ignored, even
// while bytes it sent before are unread.
bool peer_has_left(int descriptor, bool ignore_half_close);

}  // namespace lapidary
