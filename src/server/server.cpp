#include "server/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>

#include "base/log.h"
#include "http/content_coding.h"
#include "http/target.h"

namespace lapidary::server {
namespace {

constexpr double kRetryAfterSeconds = 1;  // of what there is no room for at the moment

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

// Of a target that cannot be read, too.
Surface surface_of_head(const HttpHead& head) {
  const Result<RequestTarget> target = parse_target(head.target);
  return target ? surface_of(*target) : Surface::kOpenAi;
}

// An inbound id is kept when it is short and printable.
std::string request_id(const HttpHead& head) {
  const std::string* given = find_header(head.headers, "x-request-id");
  const bool usable = given && !given->empty() && given->size() <= 128 &&
                      std::all_of(given->begin(), given->end(), [](char c) { return c > ' ' && c < '\x7f'; });
  return usable ? *given : random_id("req_");
}

ErrorKind kind_of(int status) {
  switch (status) {
    case 408:
      return ErrorKind::kTimeout;
    case 413:
      return ErrorKind::kTooLarge;
    case 414:
      return ErrorKind::kUriTooLong;
    case 417:
      return ErrorKind::kExpectationFailed;
    case 431:
      return ErrorKind::kHeadersTooLarge;
    case 501:
      return ErrorKind::kNotSupported;
    case 503:
      return ErrorKind::kUnavailable;
    default:
      return ErrorKind::kInvalidRequest;
  }
}

ApiError coding_error(const Error& error, bool no_room) {
  if (no_room) return {ErrorKind::kUnavailable, "overloaded", error.message, "", kRetryAfterSeconds};
  switch (error.code) {
    case ErrorCode::kUnsupported:
      return {ErrorKind::kUnsupportedMediaType, "", error.message};
    case ErrorCode::kExhausted:
      return {ErrorKind::kTooLarge, "", error.message};
    default:
      return bad_request("invalid_request", "", error.message);
  }
}

// Tells the metrics when the answer is complete.
class MeasuredExchange final : public HttpExchange {
 public:
  MeasuredExchange(std::shared_ptr<HttpExchange> inner, Service& service, std::string handler,
                   Clock::time_point arrived)
      : inner_(std::move(inner)), service_(service), handler_(std::move(handler)), arrived_(arrived) {}

  const HttpHead& head() const override { return inner_->head(); }
  const std::string& body() const override { return inner_->body(); }
  HttpBody take_body() override { return inner_->take_body(); }
  void respond(HttpResponse response) override {
    note(response.status);
    inner_->respond(std::move(response));
  }
  void begin(HttpResponse response) override {
    status_ = response.status;
    inner_->begin(std::move(response));
  }
  void write(std::string piece) override { inner_->write(std::move(piece)); }
  void end() override {
    note(status_);
    inner_->end();
  }
  int64_t pending_bytes() const override { return inner_->pending_bytes(); }
  bool gone() const override { return inner_->gone(); }
  void on_gone(std::function<void()> callback) override { inner_->on_gone(std::move(callback)); }

 private:
  void note(int status) {
    // 499: nobody was there any more to be answered.
    service_.metrics().http_request(handler_, head().method, inner_->gone() ? 499 : status,
                                    AnswerTimes::seconds(arrived_, Clock::now()));
  }

  std::shared_ptr<HttpExchange> inner_;
  Service& service_;
  std::string handler_;
  Clock::time_point arrived_;
  int status_ = 200;
};

}  // namespace

Server::Server(const ServeOptions& options)
    : options_(options),
      access_({options.api_keys, options.cors_origins, options.allowed_hosts, is_loopback_host(options.http.host)}) {}

Server::~Server() {
  ending_ = true;
  if (ticker_.joinable()) ticker_.join();
  http_.reset();  // no more requests
  serving_ = nullptr;
}

Result<std::unique_ptr<Server>> Server::open(const ServeOptions& options) {
  if (!is_loopback_host(options.http.host) && options.api_keys.empty() && !options.no_auth) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--host {}: others could reach the server there; give an --api-key-file, or --no-auth if "
                             "everybody may use it",
                             options.http.host)};
  }
  RETURN_IF_ERROR(check_media_policy(options.media));
  std::unique_ptr<Server> server(new Server(options));
  Server* self = server.get();
  HttpCallbacks callbacks;
  callbacks.gate = [self](const HttpHead& head) { return self->gate(head); };
  callbacks.handle = [self](std::shared_ptr<HttpExchange> exchange) { self->handle(std::move(exchange)); };
  callbacks.refuse = [self](int status, std::string_view code, std::string_view message, const HttpHead& head) {
    return self->refuse(status, code, message, head);
  };
  ASSIGN_OR_RETURN(server->http_, HttpServer::listen(options.http, std::move(callbacks)));
  return server;
}

void Server::serve(std::unique_ptr<Engine> engine, ProcessorOptions processor) {
  service_ = std::make_unique<Service>(std::move(engine), options_, processor);
  serving_ = service_.get();
  ticker_ = std::thread([this] {
    while (!ending_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
      service_->tick();
    }
  });
}

void Server::drain(const std::atomic<bool>& hurry) {
  if (!service_) return;
  service_->drain();
  http_->drain();
  const Clock::time_point begin = Clock::now();
  while (service_->running() > 0 && !hurry && AnswerTimes::seconds(begin, Clock::now()) < options_.drain_seconds)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  service_->abort_all();
  for (int i = 0; i < 100 && service_->running() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  // What was written last is still on its way.
  for (int i = 0; i < 50 && http_->connections() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

Headers Server::response_headers(const HttpHead& head) const {
  const std::string id = request_id(head);
  Headers headers = {{"x-request-id", id}, {"request-id", id}};
  access_.add_cors(head, headers);
  return headers;
}

HttpResponse Server::refusal(const HttpHead& head, Surface surface, const ApiError& error) const {
  const Headers headers = response_headers(head);
  HttpResponse response = error_response(surface, error, *find_header(headers, "request-id"));
  response.headers.insert(response.headers.end(), headers.begin(), headers.end());
  return response;
}

HttpResponse Server::refuse(int status, std::string_view code, std::string_view message, const HttpHead& head) const {
  ApiError error{kind_of(status), status == 400 ? "invalid_request" : std::string(code), std::string(message)};
  if (status == 503) error.retry_after_s = kRetryAfterSeconds;
  return refusal(head, surface_of_head(head), error);
}

// In the order of ruling R8: route, host, key; the body is not read yet.
HttpVerdict Server::gate(const HttpHead& head) {
  const Result<RequestTarget> target = parse_target(head.target);
  const std::string_view path = path_of(head.target);
  const Surface surface = surface_of_head(head);
  const auto refused = [&](const ApiError& error) { return HttpVerdict{refusal(head, surface, error), {}}; };
  if (!target) return refused(bad_request("invalid_request", "", target.error().message));
  if (const auto error = access_.check_host(head)) return refused(*error);
  if (head.method == "OPTIONS") {
    HttpResponse response = access_.preflight(head);
    return {std::move(response), {}};
  }
  const RouteMatch match = find_route(head.method, *target);
  if (!match.route && !match.allow.empty()) {
    ApiError error{ErrorKind::kMethodNotAllowed, "",
                   fmt::format("{} does not take {}; it takes {}", path, head.method, match.allow)};
    error.allow = match.allow;
    return refused(error);
  }
  if (!match.route)
    return refused({ErrorKind::kNotFound, "", fmt::format("there is nothing at {} {}", head.method, path)});
  if (!match.route->is_public) {
    if (const auto error = access_.check_key(head)) return refused(*error);
  }
  Service* service = serving_;
  if (!service) return refused({ErrorKind::kUnavailable, "", "Loading model", "", 1});
  if (service->draining() && !match.route->is_early && head.method != "GET")
    return refused({ErrorKind::kUnavailable, "", "the server is shutting down", "", 5});
  return {};
}

void Server::handle(std::shared_ptr<HttpExchange> exchange) {
  const Clock::time_point arrived = Clock::now();
  service_->requests().post([this, exchange = std::move(exchange), arrived] { answer(exchange, arrived); });
}

void Server::answer(const std::shared_ptr<HttpExchange>& exchange, Clock::time_point arrived) {
  const HttpHead& head = exchange->head();
  const Result<RequestTarget> target = parse_target(head.target);
  const RouteMatch match = find_route(head.method, *target);
  Service& service = *serving_.load();
  Call call;
  call.handler = std::string(match.route->pattern);
  call.exchange = std::make_shared<MeasuredExchange>(exchange, service, call.handler, arrived);
  call.parameters = match.parameters;
  for (const auto& [name, value] : target->query) call.query[name] = value;
  call.surface = match.route->surface;
  call.arrived = arrived;
  call.headers = response_headers(head);
  exchange->on_gone([gone = call.gone] { *gone = true; });
  try {
    // The answer may take minutes; the body goes, and its share of the budget, when the handler has read it.
    *call.body = exchange->take_body();
    if (const std::string* coding = call.header("content-encoding")) {
      HttpBody& body = *call.body;
      ContentLimits limits;
      limits.bytes_max = options_.http.body_bytes_max;
      limits.share = &body.share;
      Result<std::string> decoded = decode_content(*coding, body.bytes, limits);
      if (!decoded) return call.fail(coding_error(decoded.error(), body.share.refused()));
      body.bytes = std::move(*decoded);
      body.share.resize(static_cast<int64_t>(body.bytes.capacity()));
    }
    match.route->handle(service, call);
  } catch (const std::bad_alloc&) {
    call.fail({ErrorKind::kInternal, "", "out of memory"});
  } catch (const std::exception& e) {
    spdlog::error("{} {}: {}", head.method, call.handler, e.what());
    call.fail({ErrorKind::kInternal, "", "the server failed to answer this request"});
  }
}

}  // namespace lapidary::server
