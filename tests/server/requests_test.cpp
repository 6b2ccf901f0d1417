#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "server/access.h"
#include "server/chat_request.h"
#include "server/metrics.h"
#include "server/request_reader.h"
#include "server/routes.h"
#include "server/work_queue.h"

namespace lapidary::server {
namespace {

RouteMatch match(std::string_view method, std::string_view target) {
  const Result<RequestTarget> parsed = parse_target(target);
  EXPECT_TRUE(parsed) << target;
  return find_route(method, *parsed);
}

TEST(RequestReader, KeepsTheFirstThingThatIsWrong) {
  const Json body = Json::parse(R"({"a": "x", "b": 5.0, "c": null, "d": {"e": [1]}, "big": 1e300})");
  std::optional<ApiError> error;
  const RequestReader reader(body, "", error);
  EXPECT_EQ(reader.integer("b", 0, 9), 5);
  EXPECT_FALSE(reader.has("c"));
  EXPECT_FALSE(reader.failed());
  EXPECT_FALSE(reader.integer("a", 0, 9));
  EXPECT_FALSE(reader.inside("d").element("e", 0).boolean("x"));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, "invalid_type");
  EXPECT_EQ(error->param, "a");
  error.reset();
  EXPECT_FALSE(reader.integer("big", 0, 9));
  EXPECT_EQ(error->code, "invalid_type");
  error.reset();
  reader.inside("d").required("f");
  EXPECT_EQ(error->param, "d.f");
}

TEST(Routes, FindTheirWay) {
  EXPECT_EQ(match("POST", "/v1/chat/completions?beta=true").route->pattern, "/v1/chat/completions");
  EXPECT_EQ(match("POST", "//v1/v1//chat/completions/").route->pattern, "/v1/chat/completions");
  EXPECT_EQ(match("GET", "/v1/models/google%2Fgemma").parameters.at(0), "google/gemma");
  EXPECT_EQ(match("GET", "/v1/models/google/gemma").parameters.at(0), "google/gemma");
  EXPECT_EQ(match("HEAD", "/").route->pattern, "/");
  EXPECT_EQ(match("GET", "/v1/chat/completions").route, nullptr);
  EXPECT_NE(match("GET", "/v1/chat/completions").allow.find("POST"), std::string::npos);
  EXPECT_TRUE(match("GET", "/nowhere").allow.empty());
  EXPECT_EQ(surface_of(*parse_target("/api/x")), Surface::kOllama);
  EXPECT_EQ(surface_of(*parse_target("/v1/messages/x")), Surface::kAnthropic);
  EXPECT_EQ(surface_of(*parse_target("/v1/x")), Surface::kOpenAi);
}

TEST(Patterns, AreThoseOfFileNames) {
  EXPECT_TRUE(matches_pattern("claude-*", "claude-sonnet-5"));
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_TRUE(matches_pattern("g?t-*o", "gpt-4o"));
  EXPECT_FALSE(matches_pattern("gpt-*o", "gpt-4"));
  EXPECT_FALSE(matches_pattern("gpt", "gpt-4"));
}

HttpHead head_with(std::string name, std::string value) {
  HttpHead head;
  head.headers = {{std::move(name), std::move(value)}};
  return head;
}

TEST(Access, TakesKeysInThreeHeaders) {
  const Access access({{"one", "two"}, {}, {}, true});
  EXPECT_FALSE(access.check_key(head_with("Authorization", "bearer two")));
  EXPECT_FALSE(access.check_key(head_with("x-api-key", "one")));
  EXPECT_FALSE(access.check_key(head_with("API-Key", "one")));
  EXPECT_TRUE(access.check_key(head_with("Authorization", "Bearer on")));
  EXPECT_TRUE(access.check_key(head_with("Authorization", "one")));
  EXPECT_TRUE(access.check_key({}));
  EXPECT_FALSE(Access({{}, {}, {}, true}).check_key({}));
}

TEST(Access, KnowsItsOwnHosts) {
  const Access access({{}, {}, {"my.box"}, true});
  for (const char* host : {"localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "192.168.1.5", "a.localhost",
                           "MY.BOX:80", "x.internal"})
    EXPECT_FALSE(access.check_host(head_with("Host", host))) << host;
  for (const char* host : {"evil.com", "localhost.evil.com", "8.8.8.8", "127.0.0.1.evil.com"})
    EXPECT_TRUE(access.check_host(head_with("Host", host))) << host;
  EXPECT_FALSE(Access({{}, {}, {}, false}).check_host(head_with("Host", "evil.com")));
}

TEST(Access, NamesOriginsThatAreListed) {
  const Access access({{}, {"https://a.example"}, {}, true});
  Headers headers;
  access.add_cors(head_with("Origin", "https://b.example"), headers);
  EXPECT_TRUE(headers.empty());
  access.add_cors(head_with("Origin", "https://a.example"), headers);
  EXPECT_EQ(*find_header(headers, "access-control-allow-origin"), "https://a.example");
  HttpHead asked = head_with("Origin", "https://a.example");
  asked.headers.emplace_back("Access-Control-Request-Headers", "x-stainless-os, x-evil, x-stainless-bad name");
  const HttpResponse answer = access.preflight(asked);
  const std::string& allowed = *find_header(answer.headers, "access-control-allow-headers");
  EXPECT_NE(allowed.find("x-stainless-os"), std::string::npos);
  EXPECT_EQ(allowed.find("x-evil"), std::string::npos);
}

Message text(Role role, const char* words) { return text_message(role, words); }

TEST(SystemMessages, AreNeverHoisted) {
  std::vector<Message> messages = {text(Role::kSystem, "A"), text(Role::kDeveloper, "B"), text(Role::kUser, "C"),
                                   text(Role::kSystem, "D"), text(Role::kAssistant, "E"), text(Role::kSystem, "F"),
                                   text(Role::kUser, "G"),   text(Role::kAssistant, "H"), text(Role::kSystem, "I")};
  place_system_messages(messages, false);
  std::string all;
  for (const Message& message : messages)
    all += fmt::format("{}[{}]", static_cast<int>(message.role), text_of(message));
  EXPECT_EQ(all, "0[A\n\nB]2[C\n\nD]3[E]2[F\n\nG]3[H]2[I]");
  std::vector<Message> results = {text(Role::kUser, "A"), text(Role::kAssistant, "B"), text(Role::kTool, "C"),
                                  text(Role::kSystem, "D")};
  place_system_messages(results, false);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(text_of(results[2]), "C\n\nD");
}

TEST(HistoryArguments, NeverPoisonAConversation) {
  const auto read = [](const char* json, bool strict = false) {
    const Json value = Json::parse(json);
    return history_arguments(&value, strict, "x");
  };
  EXPECT_EQ(dump_json(*read(R"("{\"a\": 1}")")), R"({"a":1})");
  EXPECT_EQ(dump_json(*read(R"("")")), "{}");
  EXPECT_EQ(dump_json(*read(R"({"a": 1})")), R"({"a":1})");
  EXPECT_EQ(dump_json(*read(R"("{")")), R"({"_raw":"{"})");
  EXPECT_EQ(dump_json(*read(R"("[1]")")), R"({"_raw":"[1]"})");
  EXPECT_EQ(dump_json(*history_arguments(nullptr, true, "x")), "{}");
  EXPECT_FALSE(read(R"("{")", true));
}

TEST(Errors, HaveTheirFormOnEachSurface) {
  const ApiError full{ErrorKind::kQueueFull, "", "busy", "", 1.5};
  EXPECT_EQ(http_status(Surface::kOpenAi, full), 429);
  EXPECT_EQ(http_status(Surface::kAnthropic, full), 529);
  EXPECT_EQ(http_status(Surface::kOllama, full), 503);
  const HttpResponse response = error_response(Surface::kOpenAi, full);
  EXPECT_EQ(*find_header(response.headers, "Retry-After"), "2");
  EXPECT_EQ(*find_header(response.headers, "retry-after-ms"), "1500");
  EXPECT_EQ(dump_json(error_json(Surface::kOllama, full)), R"({"error":"busy"})");
  EXPECT_EQ(dump_json(error_json(Surface::kAnthropic, full)),
            R"({"type":"error","error":{"type":"overloaded_error","message":"busy"}})");
}

TEST(Histogram, CountsUpToEachBound) {
  Histogram histogram({1, 2});
  for (const double value : {0.5, 1.0, 1.5, 9.0}) histogram.observe(value);
  std::string out;
  histogram.write("x", "a=\"b\"", out);
  EXPECT_EQ(out,
            "x_bucket{a=\"b\",le=\"1\"} 2\nx_bucket{a=\"b\",le=\"2\"} 3\nx_bucket{a=\"b\",le=\"+Inf\"} 4\n"
            "x_sum{a=\"b\"} 12\nx_count{a=\"b\"} 4\n");
}

TEST(SerialQueue, KeepsOrderOnManyThreads) {
  WorkerPool pool(4, "test");
  const auto queue = std::make_shared<SerialQueue>(pool);
  std::mutex mutex;
  std::condition_variable done;
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) {
    queue->post([&, i] {
      const std::lock_guard lock(mutex);
      order.push_back(i);
      done.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return order.size() == 1000; });
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace lapidary::server
