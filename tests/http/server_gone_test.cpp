// Clients that leave, stall or never come to the point, and a server that ends.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http/test_server.h"

namespace lapidary {
namespace {

// How late a client's leaving may be noticed: a tenth of a second, and what a machine busy with other tests adds.
constexpr double kSoon = 0.4;

// A client that sent /hold (and perhaps more), and the exchange that waits for an answer.
struct Held {
  RawClient client;
  std::shared_ptr<HttpExchange> exchange;
};

Held hold(TestServer& server, size_t index = 0, const std::string& more = "") {
  RawClient client(server.port());
  EXPECT_TRUE(client.send(get("/hold") + more));
  return {std::move(client), server.held(index)};
}

TEST(HttpServerGone, NoticesACloseWhileNothingIsWritten) {
  TestServer server;
  Held held = hold(server);
  EXPECT_FALSE(held.exchange->gone());
  held.client.close();
  const double took = wait_until([&] { return held.exchange->gone() && server.gone == 1; });
  EXPECT_GE(took, 0);
  EXPECT_LT(took, kSoon);
  EXPECT_GE(wait_until([&] { return server.server->connections() == 0; }), 0);
  held.exchange->respond({.body = "nobody hears this"});
  held.exchange->begin({});
  held.exchange->write("nor this");
  held.exchange->end();
}

TEST(HttpServerGone, NoticesAResetAndAHalfClose) {
  TestServer server;
  Held reset = hold(server, 0), half = hold(server, 1);
  reset.client.reset();
  double took = wait_until([&] { return reset.exchange->gone(); });
  EXPECT_TRUE(took >= 0 && took < kSoon) << took;
  EXPECT_FALSE(half.exchange->gone());
  half.client.shut_sending();
  took = wait_until([&] { return half.exchange->gone(); });
  EXPECT_TRUE(took >= 0 && took < kSoon) << took;
  EXPECT_EQ(server.gone, 2);
}

TEST(HttpServerGone, NoticesWhileStreaming) {
  TestServer server;
  for (const bool reset : {false, true}) {
    Held held = hold(server, reset ? 1 : 0);
    held.exchange->begin({.body = "first"});
    held.client.read_some(100, 0.05);
    reset ? held.client.reset() : held.client.close();
    const double took = wait_until([&] {
      held.exchange->write("x");
      return held.exchange->gone();
    });
    EXPECT_TRUE(took >= 0 && took < kSoon) << took;
  }
  EXPECT_EQ(server.gone, 2);
}

TEST(HttpServerGone, BytesSentMeanwhileAreNotLeaving) {
  TestServer server;
  Held held = hold(server, 0, get("/next"));
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_FALSE(held.exchange->gone());
  held.exchange->respond({.body = "answer"});
  EXPECT_EQ(held.client.read_response().body, "answer");
  EXPECT_EQ(held.client.read_response().body, "hello");
}

// More than is read ahead: the end of the stream of bytes cannot be seen by reading.
TEST(HttpServerGone, NoticesBehindManyPipelinedBytes) {
  TestServer server;
  for (const bool reset : {false, true}) {
    Held held = hold(server, reset ? 1 : 0, std::string(120'000, 'x'));
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    EXPECT_FALSE(held.exchange->gone());
    reset ? held.client.reset() : held.client.shut_sending();
    const double took = wait_until([&] { return held.exchange->gone(); });
    EXPECT_TRUE(took >= 0 && took < kSoon) << took;
  }
}

TEST(HttpServerGone, MayIgnoreAHalfClose) {
  TestServer server({.ignore_half_close = true});
  Held held = hold(server, 0, get("/next"));
  held.client.shut_sending();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(held.exchange->gone());
  held.exchange->begin({.body = "one "});
  held.exchange->write("two");
  held.exchange->end();
  EXPECT_EQ(held.client.read_response().body, "one two");
  EXPECT_EQ(held.client.read_response().body, "hello");
  EXPECT_TRUE(held.client.closed_within(1));

  Held other = hold(server, 1);
  other.client.shut_sending();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(other.exchange->gone());
  other.client.reset();
  const double took = wait_until([&] { return other.exchange->gone(); });
  EXPECT_TRUE(took >= 0 && took < 2 * kSoon) << took;
}

TEST(HttpServerGone, ACompleteAnswerReachesAClientThatHasHalfClosed) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(get("/big/8000000")));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the answer is complete, most of it unsent
  client.shut_sending();
  EXPECT_EQ(client.read_response().body.size(), 8000000u);
  EXPECT_TRUE(client.closed_within(1));
  EXPECT_EQ(server.gone, 0);
}

TEST(HttpServerGone, TellsWhoeverAsksLate) {
  TestServer server;
  Held held = hold(server);
  held.client.close();
  ASSERT_GE(wait_until([&] { return held.exchange->gone(); }), 0);
  int calls = 0;
  held.exchange->on_gone([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(HttpServerGone, CallbacksAreReplacedAndTakenBack) {
  TestServer server;
  Held held = hold(server);
  int first = 0;
  held.exchange->on_gone([&] { ++first; });
  held.exchange->on_gone({});
  held.client.close();
  ASSERT_GE(wait_until([&] { return held.exchange->gone(); }), 0);
  EXPECT_EQ(first, 0);
  EXPECT_EQ(server.gone, 0);
  // Not after the answer either.
  Held answered = hold(server, 1);
  answered.exchange->respond({.body = "x"});
  EXPECT_EQ(answered.client.read_response().body, "x");
  answered.client.close();
  ASSERT_GE(wait_until([&] { return server.server->connections() == 0; }), 0);
  EXPECT_EQ(server.gone, 0);
}

TEST(HttpServerGone, ASlowReaderCountsAsGoneAndOthersDoNotWait) {
  TestServer server({.pending_bytes_max = 1 << 20});
  RawClient slow(server.port());
  slow.shrink_receive_buffer();
  ASSERT_TRUE(slow.send(get("/hold")));
  const auto exchange = server.held(0);
  exchange->begin({});
  const std::string piece(16 << 10, 'x');
  int64_t pending_max = 0;
  int pieces = 0;
  const double took = wait_until(
      [&] {
        exchange->write(piece);
        pending_max = std::max(pending_max, exchange->pending_bytes());
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        if (++pieces % 50 == 0) {
          RawClient other(server.port());
          EXPECT_TRUE(other.send(get("/")));
          EXPECT_EQ(other.read_response().body, "hello");
        }
        return exchange->gone();
      },
      60);
  EXPECT_GE(took, 0);
  EXPECT_EQ(server.gone, 1);
  EXPECT_GT(pending_max, 1 << 20);
  EXPECT_LT(pending_max, 4 << 20);  // a quarter of a second adds 2 MiB here
}

TEST(HttpServerGone, ABurstAboveTheBoundIsDeliveredToAClientThatReads) {
  TestServer server;
  Held held = hold(server);
  const std::string event(900'000, 'e');
  held.exchange->begin({});
  for (int i = 0; i < 5; ++i) held.exchange->write(event);
  held.exchange->end();
  const RawResponse response = held.client.read_response();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.chunks.size(), 5u);
  EXPECT_EQ(response.body.size(), 4'500'000u);
}

TEST(HttpServerGone, AReaderThatStallsIsGivenUp) {
  TestServer server({.write_idle_seconds = 1});
  RawClient client(server.port());
  client.shrink_receive_buffer();
  ASSERT_TRUE(client.send(get("/hold")));
  const auto exchange = server.held(0);
  exchange->begin({.body = std::string(15 << 20, 'x')});
  const double took = wait_until([&] { return exchange->gone(); });
  EXPECT_TRUE(took > 0.8 && took < 3) << took;
  EXPECT_GE(wait_until([&] { return server.server->connections() == 0; }), 0);
}

TEST(HttpServerTime, SlowHeadsAndBodiesAreRefused) {
  TestServer server({.header_seconds = 1, .body_idle_seconds = 1, .keep_alive_seconds = 1});
  RawClient silent(server.port()), slow_head(server.port()), slow_body(server.port()), slow_chunk(server.port()),
      idle(server.port());
  ASSERT_TRUE(slow_body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123"));
  ASSERT_TRUE(slow_chunk.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n1"));
  ASSERT_TRUE(idle.send(get("/")));
  EXPECT_EQ(idle.read_response().body, "hello");
  // A head that trickles is late although each byte is in time.
  for (const char c : std::string("GET / HTTP/1.1\r\n")) {
    if (!slow_head.send(std::string(1, c))) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_EQ(slow_head.read_response().status, 408);
  EXPECT_EQ(slow_body.read_response().status, 408);
  const RawResponse chunk = slow_chunk.read_response();
  EXPECT_EQ(chunk.status, 408);
  EXPECT_EQ(chunk.header("x-code"), "request_timeout");
  std::string rest;
  for (RawClient* each : {&silent, &slow_head, &slow_body, &slow_chunk, &idle}) {
    EXPECT_TRUE(each->closed_within(3, &rest));
    EXPECT_EQ(rest, "");
  }
}

TEST(HttpServerTime, ABodyThatComesSlowlyButComesIsRead) {
  TestServer server({.header_seconds = 1, .body_idle_seconds = 1});
  RawClient client(server.port());
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"));
  for (int i = 0; i < 6; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(350));
    ASSERT_TRUE(client.send("x"));
  }
  EXPECT_EQ(client.read_response().body, "POST xxxxxx");
}

TEST(HttpServerEnd, DrainingAnswersAndCloses) {
  TestServer server;
  RawClient idle(server.port());
  ASSERT_TRUE(idle.send(get("/")));
  EXPECT_EQ(idle.read_response().body, "hello");
  Held held = hold(server);
  Held stream = hold(server, 1);
  stream.exchange->begin({.body = "a"});
  server.server->drain();
  EXPECT_TRUE(idle.closed_within(1));
  held.exchange->respond({.body = "late"});
  const RawResponse late = held.client.read_response();
  EXPECT_EQ(late.body, "late");
  EXPECT_EQ(late.header("connection"), "close");
  EXPECT_TRUE(held.client.closed_within(1));
  stream.exchange->write("b");
  stream.exchange->end();
  EXPECT_EQ(stream.client.read_response().body, "ab");
  EXPECT_TRUE(stream.client.closed_within(1));
  RawClient late_client(server.port());
  ASSERT_TRUE(late_client.send(get("/") + get("/")));
  EXPECT_EQ(late_client.read_response().header("connection"), "close");
  std::string rest;
  EXPECT_TRUE(late_client.closed_within(3, &rest));
  EXPECT_EQ(rest, "");
}

TEST(HttpServerEnd, ExchangesOutliveTheServer) {
  auto server = std::make_unique<TestServer>();
  std::vector<Held> all;
  for (size_t i = 0; i < 8; ++i) {
    all.push_back(hold(*server, i));
    if (i % 2 == 0) all.back().exchange->begin({.body = "begun"});
  }
  // Somebody writes all the while.
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) {
      for (Held& held : all) {
        held.exchange->write("piece");
        held.exchange->gone();
      }
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  server->server.reset();
  EXPECT_EQ(server->gone, 8);
  server.reset();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stop = true;
  writer.join();
  for (Held& held : all) {
    EXPECT_TRUE(held.exchange->gone());
    EXPECT_EQ(held.exchange->head().target, "/hold");
    held.exchange->respond({});
    held.exchange->end();
    held.exchange.reset();
    EXPECT_TRUE(held.client.closed_within(1));
  }
}

TEST(HttpServerEnd, EndsAmidRequests) {
  for (int round = 0; round < 20; ++round) {
    auto server = std::make_unique<TestServer>();
    std::vector<RawClient> clients;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back(server->port());
      clients.back().send(i % 4 == 0   ? get("/stream/1000")
                          : i % 4 == 1 ? get("/big/1000000")
                          : i % 4 == 2 ? get("/hold")
                                       : std::string("GET / HT"));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200 * round));
    server.reset();
  }
}

}  // namespace
}  // namespace lapidary
