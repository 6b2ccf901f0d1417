// Against a server of our own on the loopback, which has to be listed like any other private address.
#include "http/url_fetch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/allow_list.h"
#include "http/target.h"
#include "http/test_server.h"

namespace lapidary {
namespace {

constexpr int64_t kBytesMax = 100'000;

class Site {
 public:
  Site() {
    HttpCallbacks callbacks;
    callbacks.handle = [this](const std::shared_ptr<HttpExchange>& exchange) { handle(exchange); };
    auto listening = HttpServer::listen({.port = 0}, std::move(callbacks));
    EXPECT_TRUE(listening);
    server_ = *std::move(listening);
  }

  uint16_t port() const { return server_->port(); }
  std::string at(std::string_view path) const { return fmt::format("http://127.0.0.1:{}{}", port(), path); }
  std::string at(std::string_view host, std::string_view path) const {
    return fmt::format("http://{}:{}{}", host, port(), path);
  }
  HttpHead last_head() {
    const std::lock_guard lock(mutex_);
    return last_head_;
  }

  std::atomic<int> requests = 0, gone = 0;

 private:
  void handle(const std::shared_ptr<HttpExchange>& exchange) {
    ++requests;
    const std::lock_guard lock(mutex_);
    last_head_ = exchange->head();
    const RequestTarget target = *parse_target(exchange->head().target);
    const std::string path = target.rest(0);
    if (path == "picture") {
      exchange->respond({.headers = {{"Content-Type", "image/png"}}, .body = "picture"});
    } else if (path == "redirect") {
      exchange->respond({.status = 302, .headers = {{"Location", *target.parameter("to")}}, .body = "secret page"});
    } else if (path == "count") {  // redirects to itself so many times
      const int left = std::atoi(target.parameter("n")->c_str());
      if (left == 0) return exchange->respond({.body = "arrived"});
      exchange->respond({.status = 307, .headers = {{"Location", fmt::format("/count?n={}", left - 1)}}});
    } else if (path == "bytes") {
      exchange->respond({.body = std::string(std::strtoul(target.parameter("n")->c_str(), nullptr, 10), 'x')});
    } else if (path == "chunks") {  // of unknown length
      exchange->begin({});
      for (int i = 0; i < 200; ++i) exchange->write(std::string(1000, 'x'));
      exchange->end();
    } else if (path == "gzip") {
      exchange->respond({.headers = {{"Content-Encoding", "gzip"}}, .body = "\x1f\x8b"});
    } else if (path == "hold") {
      exchange->on_gone([this] { ++gone; });
      exchange->begin({.body = "some"});
      held_.push_back(exchange);
    } else if (path == "header") {
      exchange->respond({.headers = {{"X", std::string(70'000, 'x')}}, .body = "x"});
    } else {
      exchange->respond({.status = 404, .body = "secret page"});
    }
  }

  std::mutex mutex_;
  HttpHead last_head_;
  std::vector<std::shared_ptr<HttpExchange>> held_;
  std::unique_ptr<HttpServer> server_;
};

// A resolver with a book of its own, which counts how often it is asked.
struct Book {
  std::map<std::string, std::vector<std::string>> addresses;
  std::atomic<int> asked = 0;

  std::function<Result<std::vector<IpAddress>>(const std::string&)> resolver() {
    return [this](const std::string& host) -> Result<std::vector<IpAddress>> {
      ++asked;
      const auto found = addresses.find(host);
      if (found == addresses.end()) return Error{ErrorCode::kNotFound, "unknown name"};
      std::vector<IpAddress> list;
      for (const std::string& text : found->second) list.push_back(*parse_ip_address(text));
      return list;
    };
  }
};

std::unique_ptr<UrlFetcher> fetcher(FetchPolicy policy) {
  auto made = UrlFetcher::make(std::move(policy));
  EXPECT_TRUE(made) << made.error().message;
  return *std::move(made);
}

// "kUnsupported: words", or the bytes.
std::string fetch(const UrlFetcher& from, const std::string& url, int64_t bytes_max = kBytesMax) {
  const std::atomic<bool> cancelled = false;
  const auto body = from.fetch(url, bytes_max, cancelled);
  if (body) return body->bytes;
  EXPECT_EQ(body.error().message.find("secret"), std::string::npos);
  const char* codes[] = {"kInvalidArgument", "kNotFound", "kCorruptFile", "kUnsupported", "kExhausted", "kCancelled"};
  return fmt::format("{}: {}", codes[static_cast<int>(body.error().code)], body.error().message);
}

bool starts(const std::string& text, std::string_view with) { return text.rfind(with, 0) == 0; }

TEST(UrlFetch, FetchesFromListedHosts) {
  Site site;
  Book book{{{"media.test", {"127.0.0.1"}}, {"a.media.test", {"127.0.0.1"}}}};
  const auto from =
      fetcher({.allow = {fmt::format("127.0.0.1:{}", site.port()), fmt::format("Media.Test:{}", site.port())},
               .resolve = book.resolver()});
  book.addresses["127.0.0.1"] = {"127.0.0.1"};
  setenv("http_proxy", "http://127.0.0.1:9", 1);
  const std::atomic<bool> cancelled = false;
  const auto body = from->fetch(site.at("/picture?secret#fragment"), kBytesMax, cancelled);
  unsetenv("http_proxy");
  ASSERT_TRUE(body) << body.error().message;
  EXPECT_EQ(body->bytes, "picture");
  EXPECT_EQ(body->content_type, "image/png");
  const HttpHead head = site.last_head();
  EXPECT_EQ(head.target, "/picture?secret");
  EXPECT_EQ(*find_header(head.headers, "user-agent"), "lapidary");
  EXPECT_EQ(*find_header(head.headers, "accept-encoding"), "identity");
  EXPECT_EQ(find_header(head.headers, "cookie"), nullptr);
  EXPECT_EQ(find_header(head.headers, "authorization"), nullptr);

  EXPECT_EQ(fetch(*from, site.at("media.test", "/picture")), "picture");
  EXPECT_EQ(*find_header(site.last_head().headers, "host"), fmt::format("media.test:{}", site.port()));
  EXPECT_EQ(fetch(*from, site.at("MEDIA.test.", "/picture")), "picture");
  EXPECT_EQ(fetch(*from, site.at("0x7f000001", "/picture")), "picture");  // is 127.0.0.1, which is listed
  EXPECT_EQ(book.asked, 4);
  EXPECT_TRUE(starts(fetch(*from, site.at("a.media.test", "/picture")), "kUnsupported: fetching from a.media.test"));
}

TEST(UrlFetch, RefusesWithoutAPacket) {
  Site site;
  Book book{{{"inside.test", {"127.0.0.1"}},
             {"mixed.test", {"93.184.216.34", "127.0.0.1"}},
             {"mapped.test", {"::ffff:127.0.0.1"}},
             {"localhost", {"127.0.0.1"}},
             {"localhost.", {"127.0.0.1"}}}};
  for (const char* literal : {"127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "::ffff:7f00:1", "::ffff:127.0.0.1"})
    book.addresses[literal] = {literal};
  const std::string port = std::to_string(site.port());
  // Everything may be fetched from as far as names go; the addresses are what is wrong.
  const auto any = fetcher({.allow = {"*:" + port, "*", "*.test:" + port}, .resolve = book.resolver()});
  for (const char* host : {"127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "0x7f000001", "2130706433",
                           "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost", "localhost.", "LOCALHOST",
                           "inside.test", "mixed.test", "mapped.test", "127.0.0.1."}) {
    const std::string answer = fetch(*any, site.at(host, "/picture"));
    EXPECT_TRUE(starts(answer, "kUnsupported: ")) << host << ": " << answer;
  }
  const auto none = fetcher({});
  EXPECT_TRUE(starts(fetch(*none, site.at("/picture")), "kUnsupported: ")) << "nothing is listed";
  const auto other_port = fetcher({.allow = {"127.0.0.1", "127.0.0.1:1"}});
  EXPECT_TRUE(starts(fetch(*other_port, site.at("/picture")), "kUnsupported: "));
  EXPECT_EQ(site.requests, 0);
}

TEST(UrlFetch, RefusesOddUrls) {
  Book book;
  const auto any = fetcher({.allow = {"*"}, .resolve = book.resolver()});
  for (const char* url : {"",
                          "picture.png",
                          "/etc/passwd",
                          "//example.com/x",
                          "example.com/x",
                          "file:///etc/passwd",
                          "ftp://example.com/x",
                          "gopher://example.com/x",
                          "data:,x",
                          "javascript:alert(1)",
                          "http://",

                          "http://user@example.com/x",
                          "http://user:pass@example.com/",
                          "http://:@example.com/",
                          "http://a.com@evil.io/",
                          "http://a.com\\@evil.io/",
                          "http://exa mple.com/",
                          "http://example.com/a b",
                          "http://example.com:0/",
                          "http://example.com:99999/",
                          "http://example.com:x/",
                          "http://example.com/\r\nHost: x",
                          "http://[fe80::1%25eth0]/",
                          "http://[::1/",
                          "http://example.com:81/",
                          "https://example.com:80/",
                          "http://./",
                          "http://../"}) {
    EXPECT_TRUE(starts(fetch(*any, url), "kUnsupported: ")) << url << fetch(*any, url);
  }
  EXPECT_TRUE(starts(fetch(*any, "http://" + std::string(300, 'a') + "/"), "kUnsupported: "));
  EXPECT_TRUE(starts(fetch(*any, "http://a/" + std::string(9000, 'a')), "kUnsupported: "));
  EXPECT_EQ(book.asked, 0);
}

TEST(UrlFetch, ListsMatchWholeLabels) {
  const auto list = AllowList::parse({"a.com", "*.b.com", "c.com:8080", "::1", "[::2]:81", "10.0.0.1:82"});
  ASSERT_TRUE(list) << list.error().message;
  using Match = AllowList::Match;
  EXPECT_EQ(list->match("a.com", 80, 80), Match::kExact);
  EXPECT_EQ(list->match("a.com", 443, 443), Match::kExact);
  EXPECT_EQ(list->match("a.com", 8080, 80), Match::kNone);
  EXPECT_EQ(list->match("a.com.evil.io", 80, 80), Match::kNone);
  EXPECT_EQ(list->match("x.a.com", 80, 80), Match::kNone);
  EXPECT_EQ(list->match("x.b.com", 80, 80), Match::kPattern);
  EXPECT_EQ(list->match("x.y.b.com", 80, 80), Match::kPattern);
  EXPECT_EQ(list->match("b.com", 80, 80), Match::kNone);
  EXPECT_EQ(list->match("xb.com", 80, 80), Match::kNone);
  EXPECT_EQ(list->match(".b.com", 80, 80), Match::kNone);
  EXPECT_EQ(list->match("c.com", 80, 80), Match::kNone);
  EXPECT_EQ(list->match("c.com", 8080, 443), Match::kExact);
  EXPECT_EQ(list->match("0:0::1", 80, 80), Match::kExact);
  EXPECT_EQ(list->match("::2", 81, 80), Match::kExact);
  EXPECT_EQ(list->match("::2", 80, 80), Match::kNone);
  EXPECT_TRUE(list->lists(*parse_ip_address("10.0.0.1"), 82, 80));
  EXPECT_FALSE(list->lists(*parse_ip_address("10.0.0.1"), 80, 80));
  for (const char* wrong : {"", "http://a.com", "a.com/x", "a.com:", "a.com:0", "a.com:99999", "*a.com", "a.*.com",
                            "*.", "[::1", "[1.2.3.4]", "a b", "user@a.com", ".a.com", "*.*.com", "[::1]:"})
    EXPECT_FALSE(AllowList::parse({wrong})) << wrong;
}

TEST(UrlFetch, ChecksEveryRedirectFromTheStart) {
  Site site;
  Book book{{{"open.test", {"127.0.0.1"}}, {"closed.test", {"127.0.0.1"}}, {"x.wild.test", {"127.0.0.1"}}}};
  const std::string port = std::to_string(site.port());
  const auto from = fetcher({.allow = {"open.test:" + port, "*.wild.test:" + port}, .resolve = book.resolver()});
  EXPECT_EQ(fetch(*from, site.at("open.test", "/redirect?to=/picture")), "picture");
  EXPECT_EQ(fetch(*from, site.at("open.test", "/count?n=3")), "arrived");
  EXPECT_EQ(fetch(*from, site.at("open.test", "/count?n=4")),
            "kNotFound: cannot fetch from open.test: it redirects more than 3 times");
  const int before = site.requests;
  for (const std::string& to :
       {site.at("closed.test", "/picture"), site.at("x.wild.test", "/picture"), site.at("127.0.0.1", "/picture"),
        std::string("file:///etc/passwd"), std::string("http://open.test/picture"), std::string("ftp://open.test/x"),
        fmt::format("http://u@open.test:{}/picture", port), std::string("https://open.test/x")}) {
    const std::string answer = fetch(*from, site.at("open.test", "/redirect?to=" + to));
    EXPECT_TRUE(starts(answer, "kUnsupported: ")) << to << ": " << answer;
  }
  EXPECT_EQ(site.requests, before + 8);
}

// The name's address changes between two look-ups: there is only one.
TEST(UrlFetch, LooksUpOnceAndConnectsThere) {
  Site site;
  Book book{{{"rebind.test", {"127.0.0.1"}}}};
  const auto from = fetcher({.allow = {fmt::format("rebind.test:{}", site.port())}, .resolve = book.resolver()});
  EXPECT_EQ(fetch(*from, site.at("rebind.test", "/picture")), "picture");  // no system resolver knows this name
  EXPECT_EQ(book.asked, 1);
  EXPECT_TRUE(starts(fetch(*from, site.at("rebind.test", "/count?n=2")), "arrived"));
  EXPECT_EQ(book.asked, 4);
}

TEST(UrlFetch, BoundsBytesHeadersAndCodings) {
  Site site;
  const auto from = fetcher({.allow = {fmt::format("127.0.0.1:{}", site.port())}});
  EXPECT_EQ(fetch(*from, site.at("/bytes?n=100000")).size(), 100000u);
  EXPECT_EQ(fetch(*from, site.at("/bytes?n=0")), "");
  EXPECT_EQ(fetch(*from, site.at("/bytes?n=100001")), "kExhausted: what 127.0.0.1 sends has more than 100000 bytes");
  EXPECT_EQ(fetch(*from, site.at("/chunks")), "kExhausted: what 127.0.0.1 sends has more than 100000 bytes");
  EXPECT_TRUE(starts(fetch(*from, site.at("/gzip")), "kNotFound: "));
  EXPECT_TRUE(starts(fetch(*from, site.at("/header")), "kNotFound: "));
  EXPECT_EQ(fetch(*from, site.at("/nothing?secret")),
            "kNotFound: cannot fetch from 127.0.0.1: it answers with status 404");
}

TEST(UrlFetch, BoundsTime) {
  Site site;
  Book slow;
  const auto from = fetcher({.allow = {fmt::format("127.0.0.1:{}", site.port())}, .total_seconds = 1});
  double took = wait_until([&] { return starts(fetch(*from, site.at("/hold")), "kNotFound: "); }, 0);
  EXPECT_TRUE(took > 0.8 && took < 5) << took;
  auto finish = std::make_shared<std::atomic<bool>>(false);
  const auto stuck = fetcher({.allow = {"slow.test"}, .connect_seconds = 1, .resolve = [finish](const std::string&) {
                                while (!*finish) std::this_thread::sleep_for(std::chrono::milliseconds(5));
                                return Result<std::vector<IpAddress>>(std::vector<IpAddress>{});
                              }});
  took = wait_until([&] { return starts(fetch(*stuck, "http://slow.test/"), "kNotFound: "); }, 0);
  EXPECT_TRUE(took > 0.8 && took < 5) << took;
  *finish = true;
}

TEST(UrlFetch, CanBeCancelled) {
  Site site;
  const auto from = fetcher({.allow = {fmt::format("127.0.0.1:{}", site.port())}, .parallel_max = 1});
  std::atomic<bool> cancelled = false;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 2; ++i) {  // one fetches, one waits for its turn
    threads.emplace_back([&] {
      const auto body = from->fetch(site.at("/hold"), kBytesMax, cancelled);
      if (!body && body.error().code == ErrorCode::kCancelled) ++right;
    });
  }
  ASSERT_GE(wait_until([&] { return site.requests == 1; }), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(site.requests, 1);
  cancelled = true;
  const auto begin = std::chrono::steady_clock::now();
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 1);
  EXPECT_EQ(right, 2);
  EXPECT_GE(wait_until([&] { return site.gone == 1; }), 0);
}

}  // namespace
}  // namespace lapidary
