#include "http/ip_address.h"

#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/socket.h>

#include <string>

namespace lapidary {
namespace {

bool blocked(const std::string& text) {
  const auto address = parse_ip_address(text);
  EXPECT_TRUE(address) << text;
  return address && is_blocked_address(*address);
}

TEST(IpAddress, BlocksEveryRangeUpToItsEdges) {
  for (const char* text :
       {"0.0.0.0",         "0.255.255.255",   "10.0.0.0",       "10.255.255.255",  "100.64.0.0",      "100.127.255.255",
        "127.0.0.1",       "127.255.255.255", "169.254.0.0",    "169.254.169.254", "169.254.255.255", "172.16.0.0",
        "172.31.255.255",  "192.0.0.0",       "192.0.0.255",    "192.0.2.1",       "192.88.99.1",     "192.168.0.0",
        "192.168.255.255", "198.18.0.0",      "198.19.255.255", "198.51.100.7",    "203.0.113.255",   "224.0.0.0",
        "239.255.255.255", "240.0.0.0",       "255.255.255.255"}) {
    EXPECT_TRUE(blocked(text)) << text;
    EXPECT_TRUE(blocked(std::string("::ffff:") + text)) << text << " mapped";
    EXPECT_TRUE(blocked(std::string("::") + text)) << text << " compatible";
    EXPECT_TRUE(blocked(std::string("64:ff9b::") + text)) << text << " by NAT64";
  }
  for (const char* text : {"::",
                           "::1",
                           "fc00::",
                           "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "fe80::1",
                           "febf::1",
                           "fec0::1",
                           "ff00::",
                           "ff02::1",
                           "ffff::",
                           "2002::",
                           "2002:7f00:1::",
                           "2002:808:808::1",
                           "64:ff9b::808:808",
                           "64:ff9b:1::1",
                           "100::1",
                           "2001::1",
                           "2001:0:4136:e378:8000:63bf:3fff:fdd2",
                           "2001:10::1",
                           "2001:20::1",
                           "2001:1ff:ffff::1",
                           "2001:db8::1",
                           "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                           "3fff::1",
                           "3fff:fff:ffff::1",
                           "4000::1",
                           "5f00::1",
                           "1::1",
                           "1fff:ffff::1",
                           "2620:4f:8000::1",
                           "::ffff:0:1.2.3.4",
                           "0:0:0:0:0:ffff:7f00:1"}) {
    EXPECT_TRUE(blocked(text)) << text;
  }
}

TEST(IpAddress, LeavesThePublicOnes) {
  for (const char* text :
       {"1.0.0.0",         "1.1.1.1",         "8.8.8.8",        "9.255.255.255",   "11.0.0.0",      "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.0",      "169.253.255.255", "169.255.0.0",   "172.15.255.255",
        "172.32.0.0",      "191.255.255.255", "192.0.1.0",      "192.0.3.0",       "192.88.98.255", "192.88.100.0",
        "192.167.255.255", "192.169.0.0",     "198.17.255.255", "198.20.0.0",      "198.51.99.255", "198.51.101.0",
        "203.0.112.255",   "203.0.114.0",     "223.255.255.255"}) {
    EXPECT_FALSE(blocked(text)) << text;
    EXPECT_FALSE(blocked(std::string("::ffff:") + text)) << text;
  }
  for (const char* text : {"2000::1", "2001:200::1", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2606:4700::1111",
                           "2620:4f:8001::1", "3ffe::1", "3fff:1000::1", "2a00:1450:4001::200e"}) {
    EXPECT_FALSE(blocked(text)) << text;
  }
}

// Forms that are names to us are addresses to the resolver, and what it makes of them is judged.
TEST(IpAddress, OddLiteralsAreJudgedAsTheResolverReadsThem) {
  for (const char* odd : {"0x7f000001", "2130706433", "0177.0.0.1", "127.1", "0", "0x7f.1", "017700000001"}) {
    EXPECT_FALSE(parse_ip_address(odd)) << odd;
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST;
    ASSERT_EQ(getaddrinfo(odd, nullptr, &hints, &found), 0) << odd;
    const auto address = ip_address_of(*found->ai_addr);
    ASSERT_TRUE(address);
    EXPECT_TRUE(is_blocked_address(*address)) << odd << " " << to_string(*address);
    freeaddrinfo(found);
  }
}

TEST(IpAddress, ReadsAndWrites) {
  for (const char* text : {"127.0.0.1", "::1", "2001:db8::5", "::ffff:1.2.3.4"})
    EXPECT_EQ(to_string(*parse_ip_address(text)), text);
  for (const char* text :
       {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4x", ":::", "[::1]", "fe80::1%eth0", "localhost"})
    EXPECT_FALSE(parse_ip_address(text)) << text;
  EXPECT_FALSE(parse_ip_address(std::string_view("1.2.3.4\0", 8)));
}

}  // namespace
}  // namespace lapidary
