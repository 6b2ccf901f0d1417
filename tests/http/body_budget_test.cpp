// What the bodies of requests hold together: counted before memory is taken, and all of it back in the end.
#include "http/body_budget.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <thread>
#include <vector>

#include "http/content_coding.h"
#include "http/request_body.h"
#include "http/test_server.h"

namespace lapidary {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string head_of(std::string_view target, size_t bytes, std::string_view more = "") {
  return "POST " + std::string(target) + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(bytes) + "\r\n" +
         std::string(more) + "\r\n";
}

std::string chunk_of(size_t bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes);
  return size + std::string(bytes, 'c') + "\r\n";
}

RequestParser parser_after(const std::string& field) {
  RequestParser parser;
  HttpHead head;
  EXPECT_EQ(parser.read_head("POST / HTTP/1.1\r\nHost: x\r\n" + field + "\r\n\r\n", 10, head), HttpProgress::kDone);
  return parser;
}

constexpr const char* kChunked = "POST /hold HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

void expect_all_back(const TestServer& server) {
  EXPECT_GE(wait_until([&] { return server.server->body_bytes() == 0; }), 0)
      << server.server->body_bytes() << " bytes are still held";
}

TEST(BodyBudget, SharesGrowWhileThereIsRoomAndGoBack) {
  const auto budget = std::make_shared<BodyBudget>(100);
  BodyShare one(budget);
  EXPECT_TRUE(one.resize(60));
  {
    BodyShare other(budget);
    EXPECT_FALSE(other.resize(41));
    EXPECT_EQ(other.bytes(), 0);
    EXPECT_TRUE(other.resize(40));
    EXPECT_EQ(budget->bytes_free(), 0);
    EXPECT_FALSE(one.resize(61));
    EXPECT_EQ(one.bytes(), 60);
    BodyShare moved = std::move(other);
    EXPECT_EQ(budget->bytes_held(), 100);
    one = std::move(moved);
    EXPECT_EQ(budget->bytes_held(), 40);
  }
  EXPECT_EQ(budget->bytes_held(), 40);
  EXPECT_TRUE(one.resize(10));
  EXPECT_EQ(budget->bytes_held(), 10);
  one = {};
  EXPECT_EQ(budget->bytes_held(), 0);
  EXPECT_TRUE(BodyShare().resize(int64_t{1} << 60));
}

TEST(BodyBudget, ManyThreadsNeverHoldMore) {
  const auto budget = std::make_shared<BodyBudget>(1000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        BodyShare share(budget);
        share.resize(300 + t);
        EXPECT_LE(budget->bytes_held(), 1000);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget->bytes_held(), 0);
}

TEST(BodyBudget, TextsHoldWhatTheyAreCharged) {
  const auto budget = std::make_shared<BodyBudget>(10'000);
  BodyShare share(budget);
  std::string text;
  while (text.size() < 900) {
    ASSERT_TRUE(make_room(text, 7, 1000, share));
    text += "1234567";
    EXPECT_GE(share.bytes() + 16, static_cast<int64_t>(text.capacity()));
    EXPECT_LE(text.capacity(), 1000u);
  }
  EXPECT_FALSE(make_room(text, 20'000, 30'000, share));
  EXPECT_EQ(text.size() % 7, 0u);
  EXPECT_LE(share.bytes(), 1000);
}

TEST(BodyBudget, MemoryFollowsTheBytesOfABodyNotItsPromise) {
  const auto budget = std::make_shared<BodyBudget>(1 << 20);
  BodyReader reader(parser_after("Content-Length: 500000"), 1 << 20, budget);
  EXPECT_EQ(budget->bytes_held(), 0);
  std::string in(1000, 'x');
  EXPECT_EQ(reader.read(in), HttpProgress::kMore);
  EXPECT_LE(budget->bytes_held(), 2000);
  in.assign(400'000, 'x');
  EXPECT_EQ(reader.read(in), HttpProgress::kMore);
  EXPECT_LE(budget->bytes_held(), 500'000);
  {
    BodyShare other(budget);
    ASSERT_TRUE(other.resize(budget->bytes_free()));
    in.assign(98'000, 'x');
    EXPECT_EQ(reader.read(in), HttpProgress::kMore);  // the room was made before
  }
  in = "y";
  reader.drop();
  EXPECT_EQ(budget->bytes_held(), 0);
}

TEST(BodyBudget, ChunkedBodiesCountAsTheyGrow) {
  const auto budget = std::make_shared<BodyBudget>(100'000);
  BodyReader reader(parser_after("Transfer-Encoding: chunked"), 80'000, budget);
  std::string in = chunk_of(1000);
  EXPECT_EQ(reader.read(in), HttpProgress::kMore);
  EXPECT_GE(budget->bytes_held(), 1000 - 16);
  EXPECT_LE(budget->bytes_held(), 3000);
  BodyShare other(budget);
  ASSERT_TRUE(other.resize(60'000));
  in += chunk_of(50'000);
  EXPECT_EQ(reader.read(in), HttpProgress::kRefused);
  EXPECT_EQ(reader.refusal().status, 503);
  EXPECT_EQ(reader.refusal().code, "overloaded");
  EXPECT_EQ(budget->bytes_held(), 60'000);
}

TEST(BodyBudget, WhatComesOutOfACodingCounts) {
  const auto budget = std::make_shared<BodyBudget>(100'000);
  const std::string packed = gzip(std::string(60'000, ' '));
  {
    BodyShare share(budget);
    ASSERT_TRUE(share.resize(static_cast<int64_t>(packed.size())));
    ContentLimits limits;
    limits.share = &share;
    limits.bytes_max = 60'000;
    const auto decoded = decode_content("gzip", packed, limits);
    ASSERT_TRUE(decoded);
    EXPECT_GE(budget->bytes_held(), 60'000);
    BodyShare second(budget);
    limits.share = &second;
    const auto refused = decode_content("gzip", packed, limits);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_TRUE(second.refused());
    EXPECT_FALSE(share.refused());
    const auto identity = decode_content("identity", std::string(50'000, ' '), limits);
    ASSERT_FALSE(identity);
    EXPECT_EQ(identity.error().code, ErrorCode::kExhausted);
  }
  EXPECT_EQ(budget->bytes_held(), 0);
}

TEST(BodyBudget, ABodyThatDoesNotFitBesideOthersHears503) {
  TestServer server({.body_bytes_max = 600'000, .bodies_bytes_max = 1'000'000});
  RawClient first(server.port());
  ASSERT_TRUE(first.send(post("/hold", std::string(600'000, 'a'))));
  const auto held = server.held(0);
  EXPECT_GE(server.server->body_bytes(), 600'000 - 16);
  // Known from the head: nothing is read, no 100 Continue is sent.
  for (const std::string_view expect : {"", "Expect: 100-continue\r\n"}) {
    RawClient second(server.port());
    ASSERT_TRUE(second.send(head_of("/echo", 500'000, expect)));
    const RawResponse refused = second.read_response();
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.header("x-code"), "overloaded");
    EXPECT_NE(refused.body.find("at most 1000000"), std::string::npos) << refused.body;
  }
  // Grown to what there is no room for.
  RawClient third(server.port());
  ASSERT_TRUE(third.send(kChunked));
  for (int i = 0; i < 40; ++i) {
    if (!third.send(chunk_of(12'000))) break;
  }
  EXPECT_EQ(third.read_response().status, 503);
  EXPECT_GE(wait_until([&] { return server.server->body_bytes() <= 600'000; }), 0);
  // What fits goes on.
  RawClient fourth(server.port());
  ASSERT_TRUE(fourth.send(post("/echo", "small")));
  EXPECT_EQ(fourth.read_response().body, "POST small");
  held->take_body();
  expect_all_back(server);
  held->respond({.body = "done"});
  EXPECT_EQ(first.read_response().body, "done");
  ASSERT_TRUE(fourth.send(post("/echo", std::string(600'000, 'b'))));
  EXPECT_EQ(fourth.read_response(false, 60).body.size(), 600'005u);
  expect_all_back(server);
}

TEST(BodyBudget, OneBodyOfTheLongestAlwaysFits) {
  TestServer server({.body_bytes_max = 100'000, .bodies_bytes_max = 10});
  RawClient client(server.port());
  ASSERT_TRUE(client.send(post("/echo", std::string(100'000, 'a'))));
  EXPECT_EQ(client.read_response().status, 200);
  expect_all_back(server);
}

TEST(BodyBudget, NothingIsLeftOfRequestsThatEndInAnyWay) {
  TestServer server({.body_bytes_max = 1 << 20, .bodies_bytes_max = 4 << 20, .body_idle_seconds = 1});
  const std::string half(200'000, 'h');
  const auto holds = [&](int64_t bytes) {
    EXPECT_GE(wait_until([&] { return server.server->body_bytes() >= bytes; }), 0);
  };
  for (const bool reset : {false, true}) {  // the client leaves in the middle
    RawClient client(server.port());
    ASSERT_TRUE(client.send(head_of("/echo", 400'000) + half));
    holds(200'000);
    if (reset) client.reset();
    client.close();
    expect_all_back(server);
  }
  {  // it falls silent
    RawClient client(server.port());
    ASSERT_TRUE(client.send(head_of("/echo", 400'000) + half));
    EXPECT_EQ(client.read_response().status, 408);
    expect_all_back(server);
  }
  {  // damage
    RawClient client(server.port());
    ASSERT_TRUE(client.send(kChunked + chunk_of(200'000) + "nonsense\r\n"));
    EXPECT_EQ(client.read_response().status, 400);
    expect_all_back(server);
  }
  {  // too long
    RawClient client(server.port());
    ASSERT_TRUE(client.send(kChunked + chunk_of(200'000) + "fffffff\r\n"));
    EXPECT_EQ(client.read_response().status, 413);
    expect_all_back(server);
  }
  {  // refused by the gate, its body read over
    RawClient client(server.port());
    ASSERT_TRUE(client.send(post("/refused", half) + get("/")));
    EXPECT_EQ(client.read_response().status, 401);
    EXPECT_EQ(client.read_response().status, 200);
    expect_all_back(server);
  }
  {  // nobody answers
    RawClient client(server.port());
    ASSERT_TRUE(client.send(post("/drop", half)));
    EXPECT_EQ(client.read_response().status, 500);
    expect_all_back(server);
  }
  {  // the client leaves while somebody works on it: the memory is his until he lets go
    RawClient client(server.port());
    ASSERT_TRUE(client.send(post("/hold", half)));
    const auto held = server.held(0);
    client.close();
    EXPECT_GE(wait_until([&] { return held->gone(); }), 0);
    EXPECT_GE(server.server->body_bytes(), 200'000 - 16);
    EXPECT_EQ(held->take_body().bytes, half);
    EXPECT_EQ(held->body(), "");
    expect_all_back(server);
  }
}

TEST(BodyBudget, WhatAHandlerHoldsMayOutliveTheServer) {
  HttpBody body;
  {
    TestServer server;
    RawClient client(server.port());
    ASSERT_TRUE(client.send(post("/hold", "kept")));
    body = server.held(0)->take_body();
  }
  EXPECT_EQ(body.bytes, "kept");
}

}  // namespace
}  // namespace lapidary
