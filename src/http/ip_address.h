// Addresses, and which of them a request from outside may not make this machine talk to.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sockaddr;

namespace lapidary {

struct IpAddress {
  bool six = false;
  std::array<uint8_t, 16> bytes = {};  // of IPv4 the first four

  bool operator==(const IpAddress&) const = default;
};

// "127.0.0.1", "::1". Only the plain forms: 0x7f.1 and 2130706433 are names, for a resolver to read.
std::optional<IpAddress> parse_ip_address(std::string_view text);
std::optional<IpAddress> ip_address_of(const sockaddr& address);  // absent: another family
std::string to_string(const IpAddress& address);

// Everything but the public unicast Internet: this machine, private and link-local networks, shared, reserved and
// documentation ranges, multicast, ways from IPv6 into IPv4 (6to4, Teredo, NAT64). IPv4-mapped and -compatible
// addresses are what they contain.
bool is_blocked_address(const IpAddress& address);

}  // namespace lapidary
