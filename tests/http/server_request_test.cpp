// What the server makes of requests, byte by byte over a real socket.
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "http/test_server.h"

namespace lapidary {
namespace {

TEST(HttpServer, KeepsAConnectionForOneRequestAfterAnother) {
  TestServer server;
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send(post("/echo", "body " + std::to_string(i))));
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "POST body " + std::to_string(i));
    EXPECT_EQ(response.header("connection"), "(absent)");
    EXPECT_EQ(response.header("date").size(), 29u);
  }
  EXPECT_EQ(server.server->connections(), 1);
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  TestServer server;
  RawClient client(server.port());
  std::string all;
  for (int i = 0; i < 200; ++i) all += i % 3 == 0 ? get("/stream/2") : post("/echo", std::to_string(i));
  ASSERT_TRUE(client.send(all));
  for (int i = 0; i < 200; ++i) {
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.body, i % 3 == 0 ? "data: 0\n\ndata: 1\n\n" : "POST " + std::to_string(i));
  }
}

TEST(HttpServer, PipelinedRequestsWaitForAnAnswerFromAnotherThread) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(get("/hold") + post("/echo", "second") + get("/hold") + get("/third")));
  const auto first = server.held(0);
  EXPECT_EQ(server.requests, 1);
  std::thread([&] { first->respond({.body = "first"}); }).join();
  EXPECT_EQ(client.read_response().body, "first");
  EXPECT_EQ(client.read_response().body, "POST second");
  server.held(1)->respond({.status = 204});
  EXPECT_EQ(client.read_response().status, 204);
  EXPECT_EQ(client.read_response().body, "hello");
}

TEST(HttpServer, ReadsChunkedBodiesOneByteAtATime) {
  TestServer server;
  RawClient client(server.port());
  std::string request = "POST /echo HTTP/1.1\r\nhost: x\r\nTRANSFER-encoding:Chunked\r\n\r\n";
  for (const char c : std::string("one byte at a time")) request += std::string("1;name=value\r\n") + c + "\r\n";
  request += "0\r\nX-Trailer: ignored\r\n\r\n";
  for (const char c : request) ASSERT_TRUE(client.send(std::string(1, c)));
  EXPECT_EQ(client.read_response().body, "POST one byte at a time");
  for (const std::string end : {"0\r\n\r\n", "00;a\r\nX: y\r\n\r\n"}) {
    for (const char c : "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + end)
      ASSERT_TRUE(client.send(std::string(1, c)));
    EXPECT_EQ(client.read_response().body, "POST ");
  }
  ASSERT_TRUE(client.send(get("/after")));
  EXPECT_EQ(client.read_response().body, "hello");
}

TEST(HttpServer, ReadsLargeBodies) {
  TestServer server;
  RawClient client(server.port());
  const std::string body(4 << 20, 'b');
  ASSERT_TRUE(client.send(post("/echo", body)));
  EXPECT_EQ(client.read_response(false, 60).body, "POST " + body);
  RawClient other(server.port());
  ASSERT_TRUE(other.send(get("/big/6000000")));
  EXPECT_EQ(other.read_response(false, 60).body.size(), 6000000u);
}

TEST(HttpServer, SaysContinueOnceTheGateHasPassed) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n"));
  EXPECT_EQ(client.read_response().status, 100);
  ASSERT_TRUE(client.send("body"));
  EXPECT_EQ(client.read_response().body, "POST body");
}

TEST(HttpServer, RefusesBeforeContinueAndWithoutTheBody) {
  TestServer server;
  for (const std::string target : {"/refused", "/small"}) {
    RawClient client(server.port());
    ASSERT_TRUE(client.send("POST " + target +
                            " HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"));
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.status, target == "/refused" ? 401 : 413);
    EXPECT_EQ(response.header("connection"), "close");
    std::string rest;
    EXPECT_TRUE(client.closed_within(3, &rest));
    EXPECT_EQ(rest, "");
  }
  EXPECT_EQ(server.requests, 0);
}

TEST(HttpServer, DrainsShortBodiesOfRefusedRequestsAndGoesOn) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(post("/refused", std::string(500'000, 'x')) + get("/next")));
  RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.header("connection"), "(absent)");
  EXPECT_EQ(client.read_response().body, "hello");
  // Of unknown length, then known to be too long as soon as the chunk's size is read.
  ASSERT_TRUE(
      client.send("POST /refused HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
  EXPECT_EQ(client.read_response().status, 401);
  ASSERT_TRUE(client.send("POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n"));
  EXPECT_EQ(client.read_response().status, 413);
  EXPECT_TRUE(client.closed_within(3));
}

TEST(HttpServer, ClosesAfterRefusingALongBody) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send("POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n"));
  // The answer comes although the client goes on sending, and is not lost in a reset.
  for (int i = 0; i < 10; ++i) client.send(std::string(50'000, 'x'));
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.body, "no");
  EXPECT_EQ(response.header("connection"), "close");
  EXPECT_TRUE(client.closed_within(3));
}

struct Refused {
  const char* what;
  std::string request;
  int status;
};

TEST(HttpServer, RefusesMalformedRequestsAndCloses) {
  const std::string host = "Host: x\r\n";
  const std::vector<Refused> cases = {
      {"both lengths",
       "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"list of lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3, 3\r\n\r\nabc", 400},
      {"negative length", "POST / HTTP/1.1\r\n" + host + "Content-Length: -3\r\n\r\nabc", 400},
      {"signed length", "POST / HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\nabc", 400},
      {"empty length", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n", 400},
      {"huge length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 9999999999999999999\r\n\r\n", 413},
      {"length of no number", "POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {"folded field", "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", 400},
      {"fold first", "GET / HTTP/1.1\r\n X: a\r\n" + host + "\r\n", 400},
      {"bare LF in a field", "GET / HTTP/1.1\r\n" + host + "X: a\nY: b\r\n\r\n", 400},
      {"bare LF after the request line", "GET / HTTP/1.1\n" + host + "\r\n", 400},
      {"LF only", "GET / HTTP/1.1\nHost: x\n\n", 400},
      {"bare CR", "GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", 400},
      {"NUL", "GET / HTTP/1.1\r\n" + host + std::string("X: a\0b\r\n\r\n", 10), 400},
      {"space before colon", "GET / HTTP/1.1\r\n" + host + "X : a\r\n\r\n", 400},
      {"no colon", "GET / HTTP/1.1\r\n" + host + "X\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
      {"Host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
      {"Host with a user", "GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400},
      {"unknown coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"chunked twice",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"chunked in 1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"expectation", "POST / HTTP/1.1\r\n" + host + "Expect: tea\r\nContent-Length: 3\r\n\r\n", 417},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"HTTP/2 on a path", "GET / HTTP/2.0\r\n\r\n", 505},
      {"HTTP/1.2", "GET / HTTP/1.2\r\n" + host + "\r\n", 505},
      {"HTTP/0.9", "GET /\r\n\r\n", 400},
      {"no version", "GET / \r\n\r\n", 400},
      {"odd version", "GET / HTTP/1.11\r\n\r\n", 400},
      {"lower-case version", "GET / http/1.1\r\n\r\n", 400},
      {"method", "G@T / HTTP/1.1\r\n" + host + "\r\n", 400},
      {"space in target", "GET /a b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"control in target", "GET /a\x01 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"authority target", "CONNECT x:80 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"star target", "GET * HTTP/1.1\r\n" + host + "\r\n", 400},
      {"user in absolute target", "GET http://u@x/ HTTP/1.1\r\n" + host + "\r\n", 400},
      {"empty authority", "GET http:///x HTTP/1.1\r\n" + host + "\r\n", 400},
      {"ftp target", "GET ftp://x/ HTTP/1.1\r\n" + host + "\r\n", 400},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01", 6), 400},
      {"long target", "GET /" + std::string(17 << 10, 'a') + " HTTP/1.1\r\n" + host + "\r\n", 414},
      {"target without end", "GET /" + std::string(17 << 10, 'a'), 414},
      {"long field", "GET / HTTP/1.1\r\n" + host + "X: " + std::string(70 << 10, 'a') + "\r\n\r\n", 431},
      {"field without end", "GET / HTTP/1.1\r\n" + host + "X: " + std::string(70 << 10, 'a'), 431},
      {"chunk size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"negative chunk", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400},
      {"chunk size overflow", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
       400},
      {"large chunk", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n", 413},
      {"chunk without CR LF", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400},
      {"endless extension",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;" + std::string(20 << 10, 'a'), 400},
      {"endless trailer",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + std::string(20 << 10, 'a'), 400},
      {"length in a trailer",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n", 400},
      {"extension", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;=\r\nabc\r\n0\r\n\r\n", 400},
      {"chunk with LF", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", 400},
  };
  TestServer server;
  for (const Refused& each : cases) {
    RawClient client(server.port());
    ASSERT_TRUE(client.send(each.request)) << each.what;
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.status, each.status) << each.what << ": " << response.body;
    EXPECT_TRUE(response.complete) << each.what;
    EXPECT_EQ(response.header("connection"), "close") << each.what;
    EXPECT_NE(response.header("date"), "(absent)") << each.what;
    EXPECT_TRUE(client.closed_within(3)) << each.what;
  }
  EXPECT_EQ(server.requests, 0);
  std::string many = "GET / HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 99; ++i) many += "X: y\r\n";
  RawClient client(server.port());
  ASSERT_TRUE(client.send(many + "\r\n" + many + "X: y\r\n\r\n"));
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_EQ(client.read_response().status, 431);
}

TEST(HttpServer, AcceptsWhatTheStandardAccepts) {
  TestServer server;
  for (const std::string request :
       {"\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://example.com/echo HTTP/1.1\r\nHost: other\r\n\r\n",
        "GET HTTPS://example.com:81/echo HTTP/1.1\r\nHost:\r\n\r\n", "GET /echo HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhOsT:\t x \t\r\nX:\r\nEmpty: \r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: x\r\nX: caf\xc3\xa9\r\n\r\n"}) {
    RawClient client(server.port());
    ASSERT_TRUE(client.send(request));
    EXPECT_EQ(client.read_response().body, "GET ") << request;
  }
  RawClient client(server.port());
  ASSERT_TRUE(client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client.read_response().body, "hello");
}

TEST(HttpServer, AnAbsoluteTargetNamesTheHost) {
  std::string host, target, client_address;
  HttpCallbacks callbacks;
  callbacks.handle = [&](const std::shared_ptr<HttpExchange>& exchange) {
    host = *find_header(exchange->head().headers, "host");
    target = exchange->head().target;
    client_address = exchange->head().client;
    exchange->respond({});
  };
  auto server = HttpServer::listen({.port = 0}, callbacks);
  ASSERT_TRUE(server);
  RawClient client((*server)->port());
  ASSERT_TRUE(client.send("GET http://example.com:99?q=1 HTTP/1.1\r\nHost: other\r\n\r\n"));
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_EQ(host, "example.com:99");
  EXPECT_EQ(target, "/?q=1");
  EXPECT_EQ(client_address, "127.0.0.1");
}

TEST(HttpServer, HeadHasNoBody) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(
      client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream/3 HTTP/1.1\r\nHost: x\r\n\r\n"
                  "HEAD /refused HTTP/1.1\r\nHost: x\r\n\r\n" +
                  get("/")));
  const RawResponse whole = client.read_response(true);
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.header("content-length"), "5");
  EXPECT_EQ(client.read_response(true).header("content-type"), "text/event-stream");
  EXPECT_EQ(client.read_response(true).status, 401);
  EXPECT_EQ(client.read_response().body, "hello");
}

TEST(HttpServer, OldClientsReadUntilTheConnectionCloses) {
  TestServer server;
  RawClient stream(server.port());
  ASSERT_TRUE(stream.send("GET /stream/3 HTTP/1.0\r\n\r\n"));
  const RawResponse pieces = stream.read_response();
  EXPECT_EQ(pieces.header("transfer-encoding"), "(absent)");
  EXPECT_EQ(pieces.header("connection"), "close");
  EXPECT_EQ(pieces.body, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  EXPECT_TRUE(pieces.complete);
  RawClient whole(server.port());
  ASSERT_TRUE(whole.send("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(whole.read_response().body, "hello");
  EXPECT_TRUE(whole.closed_within(1));
  RawClient kept(server.port());
  ASSERT_TRUE(kept.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
  EXPECT_EQ(kept.read_response().header("connection"), "keep-alive");
  ASSERT_TRUE(kept.send("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(kept.read_response().body, "hello");
}

TEST(HttpServer, HonoursConnectionClose) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(get("/", "Connection: foo, Close\r\n")));
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.header("connection"), "close");
  EXPECT_TRUE(client.closed_within(1));
}

TEST(HttpServer, StreamsChunkByChunk) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(get("/hold")));
  const auto exchange = server.held(0);
  exchange->begin({.headers = {{"X-Id", "a\r\nInjected: b"}, {"Content-Length", "3"}}, .body = "first"});
  std::string head = client.read_some(10);
  EXPECT_NE(head.find("X-Id: a  Injected: b\r\n"), std::string::npos);
  EXPECT_EQ(head.find("Content-Length"), std::string::npos);
  EXPECT_NE(head.find("\r\n\r\n5\r\nfirst\r\n"), std::string::npos);
  exchange->write("second piece");
  EXPECT_EQ(client.read_some(17), "c\r\nsecond piece\r\n");
  exchange->write("");
  exchange->end();
  EXPECT_EQ(client.read_some(5), "0\r\n\r\n");
  exchange->write("too late");
  exchange->end();
  exchange->respond({.body = "too late"});
  ASSERT_TRUE(client.send(get("/")));
  EXPECT_EQ(client.read_response().body, "hello");
}

TEST(HttpServer, AnswersForHandlersThatForget) {
  TestServer server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(get("/drop")));
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.header("x-code"), "internal_error");
  std::promise<std::shared_ptr<HttpExchange>> begun;
  HttpCallbacks callbacks;
  callbacks.handle = [&](std::shared_ptr<HttpExchange> exchange) {
    exchange->begin({.body = "begun"});
    begun.set_value(std::move(exchange));
  };
  auto other = HttpServer::listen({.port = 0}, callbacks);
  ASSERT_TRUE(other);
  RawClient broken((*other)->port());
  ASSERT_TRUE(broken.send(get("/")));
  begun.get_future().get().reset();
  const RawResponse cut = broken.read_response(false, 2);
  EXPECT_EQ(cut.body, "begun");
  EXPECT_FALSE(cut.complete);
}

TEST(HttpServer, ListensOnIpv6AndNames) {
  for (const char* host : {"::1", "[::1]", "localhost", "0.0.0.0", "::"}) {
    TestServer server({.host = host});
    RawClient client(server.port(), std::string(host).find("::1") == std::string::npos ? "127.0.0.1" : "::1");
    if (!client.connected()) GTEST_SKIP() << "no " << host << " on this machine";
    ASSERT_TRUE(client.send(get("/")));
    EXPECT_EQ(client.read_response().body, "hello") << host;
  }
}

TEST(HttpServer, SaysWhyItCannotListen) {
  TestServer server;
  const auto taken = HttpServer::listen({.port = server.port()}, {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kExhausted);
  EXPECT_NE(taken.error().message.find("127.0.0.1 port " + std::to_string(server.port())), std::string::npos);
  for (const char* host : {"192.0.2.1", "no.such.host.invalid", ""}) {
    const auto wrong = HttpServer::listen({.host = host, .port = 0}, {});
    ASSERT_FALSE(wrong) << host;
    EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(wrong.error().message.find(std::string(host) + " port 0"), std::string::npos) << wrong.error().message;
  }
}

}  // namespace
}  // namespace lapidary
