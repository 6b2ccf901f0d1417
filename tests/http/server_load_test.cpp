// Many clients at once.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "http/test_server.h"

namespace lapidary {
namespace {

size_t open_descriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST(HttpServerLoad, BeyondTheBoundOfConnectionsClientsHear503) {
  TestServer server({.connections_max = 4});
  std::vector<RawClient> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back(server.port());
    ASSERT_TRUE(clients.back().send(get("/")));
    EXPECT_EQ(clients.back().read_response().status, 200);
  }
  RawClient fifth(server.port());
  ASSERT_TRUE(fifth.send(get("/")));
  const RawResponse response = fifth.read_response();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.header("x-code"), "overloaded");
  EXPECT_EQ(response.header("connection"), "close");
  EXPECT_TRUE(fifth.closed_within(3));
  clients.pop_back();
  ASSERT_GE(wait_until([&] { return server.server->connections() == 3; }), 0);
  RawClient sixth(server.port());
  ASSERT_TRUE(sixth.send(get("/")));
  EXPECT_EQ(sixth.read_response().status, 200);
}

TEST(HttpServerLoad, ClientsThatOpenAndAbortLeaveNothingBehind) {
  TestServer server;
  const size_t before = open_descriptors();
  for (int i = 0; i < 1000; ++i) {
    RawClient client(server.port());
    switch (i % 5) {
      case 0:
        break;
      case 1:
        client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
        break;
      case 2:
        client.send(get("/hold"));
        break;
      case 3:
        client.send(get("/stream/50"));
        break;
      default:
        client.send("GET / HT");
    }
    if (i % 2 == 0) client.reset();
  }
  EXPECT_GE(wait_until([&] { return server.server->connections() == 0 && open_descriptors() == before; }), 0)
      << open_descriptors() << " descriptors, " << before << " before";
  RawClient client(server.port());
  ASSERT_TRUE(client.send(get("/")));
  EXPECT_EQ(client.read_response().body, "hello");
}

TEST(HttpServerLoad, TwoThousandIdleConnectionsDoNotDelayOthers) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 8192);
  setrlimit(RLIMIT_NOFILE, &limit);
  const int count = static_cast<int>(std::min<rlim_t>(2000, (limit.rlim_cur - 200) / 2));
  TestServer server({.connections_max = count + 8});
  std::vector<RawClient> idle;
  for (int i = 0; i < count; ++i) {
    idle.emplace_back(server.port());
    ASSERT_TRUE(idle.back().connected()) << i;
    if (i % 2 == 0) {
      ASSERT_TRUE(idle.back().send("GET / HTTP/1.1\r\nHo"));
    }
  }
  ASSERT_GE(wait_until([&] { return server.server->connections() == count; }), 0);
  std::vector<double> seconds;
  for (int i = 0; i < 50; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    RawClient client(server.port());
    ASSERT_TRUE(client.send(get("/")));
    EXPECT_EQ(client.read_response().body, "hello");
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(seconds.begin(), seconds.end());
  EXPECT_LT(seconds[seconds.size() / 2], 0.1);
  // Those that had begun can still finish.
  ASSERT_TRUE(idle[0].send("st: x\r\n\r\n"));
  EXPECT_EQ(idle[0].read_response().body, "hello");
}

TEST(HttpServerLoad, ManyStreamsFromManyThreads) {
  TestServer server;
  constexpr int kClients = 32, kPieces = 200;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int c = 0; c < kClients; ++c) {
    threads.emplace_back([&] {
      RawClient client(server.port());
      client.send(get("/hold"));
      const RawResponse response = client.read_response(false, 60);
      std::string expected;
      for (int i = 0; i < kPieces; ++i) expected += "data: " + std::to_string(i) + "\n\n";
      if (response.complete && response.body == expected && response.chunks.size() == kPieces) ++right;
    });
  }
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      for (int c = w; c < kClients; c += 4) server.held(static_cast<size_t>(c))->begin({});
      for (int i = 0; i < kPieces; ++i) {
        for (int c = w; c < kClients; c += 4)
          server.held(static_cast<size_t>(c))->write("data: " + std::to_string(i) + "\n\n");
      }
      for (int c = w; c < kClients; c += 4) server.held(static_cast<size_t>(c))->end();
    });
  }
  for (std::thread& thread : writers) thread.join();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kClients);
}

}  // namespace
}  // namespace lapidary
