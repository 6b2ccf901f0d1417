#include "server/call.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

namespace lapidary::server {

bool Call::query_flag(std::string_view name) const {
  const auto it = query.find(std::string(name));
  return it != query.end() && it->second != "0" && it->second != "false";
}

std::string Call::request_id() const {
  const std::string* id = find_header(headers, "request-id");
  return id ? *id : "";
}

void Call::respond(HttpResponse response) const {
  response.headers.insert(response.headers.end(), headers.begin(), headers.end());
  exchange->respond(std::move(response));
}

void Call::respond_json(const Json& json, int status) const {
  HttpResponse response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = dump_wire_json(json);
  respond(std::move(response));
}

void Call::respond_text(std::string text, std::string_view content_type, int status) const {
  HttpResponse response;
  response.status = status;
  response.headers.emplace_back("Content-Type", content_type);
  response.body = std::move(text);
  respond(std::move(response));
}

void SseStream::begin() {
  HttpResponse response;
  response.headers = {
      {"Content-Type", "text/event-stream; charset=utf-8"}, {"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
  exchange_->begin(std::move(response));
}

void SseStream::event(const Json& data, std::string_view name) {
  std::string out;
  if (!name.empty()) out = fmt::format("event: {}\n", name);
  out += "data: ";
  out += dump_wire_json(data);
  out += "\n\n";
  exchange_->write(std::move(out));
}

void SseStream::text(std::string_view data) { exchange_->write(fmt::format("data: {}\n\n", data)); }

void SseStream::comment() { exchange_->write(":\n\n"); }

void NdjsonStream::begin() {
  HttpResponse response;
  response.headers = {
      {"Content-Type", "application/x-ndjson"}, {"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
  exchange_->begin(std::move(response));
}

void NdjsonStream::line(const Json& data) { exchange_->write(dump_wire_json(data) + "\n"); }

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string rfc3339_now() {
  using namespace std::chrono;
  const auto now = system_clock::now();
  const auto micros = duration_cast<microseconds>(now.time_since_epoch()).count() % 1'000'000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(system_clock::to_time_t(now)), micros);
}

}  // namespace lapidary::server
