#include "http/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace lapidary {
namespace {

struct Range {
  std::array<uint8_t, 16> prefix;
  int bits;
};

// IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890), and multicast.
constexpr Range kBlockedFour[] = {
    {{0}, 8},              // this network
    {{10}, 8},             // private
    {{100, 64}, 10},       // shared by carriers
    {{127}, 8},            // loopback
    {{169, 254}, 16},      // link-local, and clouds' metadata
    {{172, 16}, 12},       // private
    {{192, 0, 0}, 24},     // protocol assignments
    {{192, 0, 2}, 24},     // documentation
    {{192, 88, 99}, 24},   // 6to4 relays
    {{192, 168}, 16},      // private
    {{198, 18}, 15},       // benchmarks
    {{198, 51, 100}, 24},  // documentation
    {{203, 0, 113}, 24},   // documentation
    {{224}, 4},            // multicast
    {{240}, 4},            // reserved, broadcast
};
// Of global unicast, 2000::/3; all other IPv6 is blocked as it is.
constexpr Range kBlockedSix[] = {
    {{0x20, 0x01, 0x00}, 23},              // protocol assignments, Teredo, ORCHID
    {{0x20, 0x01, 0x0d, 0xb8}, 32},        // documentation
    {{0x20, 0x02}, 16},                    // 6to4
    {{0x26, 0x20, 0x00, 0x4f, 0x80}, 48},  // AS112
    {{0x3f, 0xff, 0x00}, 20},              // documentation
};
constexpr Range kGlobalUnicast = {{0x20}, 3};
constexpr Range kMapped = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96};
constexpr Range kCompatible = {{}, 96};

bool inside(const std::array<uint8_t, 16>& bytes, const Range& range) {
  const int whole = range.bits / 8, rest = range.bits % 8;
  if (!std::equal(bytes.begin(), bytes.begin() + whole, range.prefix.begin())) return false;
  return rest == 0 || ((bytes[whole] ^ range.prefix[whole]) >> (8 - rest)) == 0;
}

template <size_t n>
bool inside_any(const std::array<uint8_t, 16>& bytes, const Range (&ranges)[n]) {
  return std::any_of(std::begin(ranges), std::end(ranges), [&](const Range& range) { return inside(bytes, range); });
}

}  // namespace

std::optional<IpAddress> parse_ip_address(std::string_view text) {
  const std::string copy(text);
  IpAddress address;
  if (copy.size() != std::strlen(copy.c_str())) return std::nullopt;
  if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) return address;
  address.six = true;
  if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::optional<IpAddress> ip_address_of(const sockaddr& address) {
  IpAddress found;
  if (address.sa_family == AF_INET) {
    std::memcpy(found.bytes.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
    return found;
  }
  if (address.sa_family == AF_INET6) {
    found.six = true;
    std::memcpy(found.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
    return found;
  }
  return std::nullopt;
}

std::string to_string(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.six ? AF_INET6 : AF_INET, address.bytes.data(), text, sizeof text);
  return text;
}

bool is_blocked_address(const IpAddress& address) {
  if (!address.six) return inside_any(address.bytes, kBlockedFour);
  if (inside(address.bytes, kMapped) || inside(address.bytes, kCompatible)) {
    IpAddress inner;
    std::copy(address.bytes.begin() + 12, address.bytes.end(), inner.bytes.begin());
    return is_blocked_address(inner);
  }
  return !inside(address.bytes, kGlobalUnicast) || inside_any(address.bytes, kBlockedSix);
}

}  // namespace lapidary
