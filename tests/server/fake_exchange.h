// One request without a connection: what was answered is kept to be looked at.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "http/http.h"
#include "server/call.h"

namespace lapidary::server::testing {

class FakeExchange final : public HttpExchange {
 public:
  const HttpHead& head() const override { return head_; }
  const std::string& body() const override { return body_; }
  HttpBody take_body() override { return {std::exchange(body_, {}), {}}; }
  void respond(HttpResponse response) override {
    response_ = std::move(response);
    ended_ = true;
  }
  void begin(HttpResponse response) override { response_ = std::move(response); }
  void write(std::string piece) override { response_.body += piece; }
  void end() override { ended_ = true; }
  bool gone() const override { return false; }
  void on_gone(std::function<void()>) override {}

  void set_header(std::string name, std::string value) {
    head_.headers.emplace_back(std::move(name), std::move(value));
  }
  int status() const { return response_.status; }
  bool ended() const { return ended_; }
  const std::string& text() const { return response_.body; }
  Json json() const { return parse_json(response_.body, "answer").value(); }

  // Event names with their data. Comments are left out; a name that differs from its data's type is an error.
  std::vector<Json> events() const {
    std::vector<Json> all;
    std::string_view rest = response_.body;
    while (!rest.empty()) {
      const size_t end = rest.find("\n\n");
      const std::string_view block = rest.substr(0, end);
      rest.remove_prefix(std::min(rest.size(), end + 2));
      if (block.starts_with(":")) continue;
      const size_t line = block.find('\n');
      Json event = parse_json(block.substr(line + 1 + std::string_view("data: ").size()), "event").value();
      if (block.substr(0, line) != "event: " + event["type"].get<std::string>()) event["type"] = "misnamed";
      all.push_back(std::move(event));
    }
    return all;
  }

 private:
  HttpHead head_{"POST", "/"};
  std::string body_;
  HttpResponse response_;
  bool ended_ = false;
};

inline Call fake_call(std::shared_ptr<FakeExchange> exchange) {
  Call call;
  call.exchange = std::move(exchange);
  call.handler = "/test";
  call.arrived = Clock::now();
  return call;
}

}  // namespace lapidary::server::testing
