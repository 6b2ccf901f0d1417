// The server as a whole: opens the port, answers 503 until there is a model, then serves it until it is told to stop.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http/http_server.h"
#include "server/access.h"
#include "server/routes.h"
#include "server/service.h"

namespace lapidary::server {

class Server {
 public:
  // Opens the port. Errors: as HttpServer::listen; kInvalidArgument for another address than loopback without a key.
  static Result<std::unique_ptr<Server>> open(const ServeOptions& options);
  ~Server();

  uint16_t port() const { return http_->port(); }
  // From now on requests are answered.
  void serve(std::unique_ptr<Engine> engine, ProcessorOptions processor);
  // New work is refused; what runs may end, for at most ServeOptions::drain_seconds or until `hurry` is set. What still
  // runs then ends with an error.
  void drain(const std::atomic<bool>& hurry);
  void replace_keys(std::vector<std::string> keys) { access_.replace_keys(std::move(keys)); }

 private:
  explicit Server(const ServeOptions& options);

  HttpVerdict gate(const HttpHead& head);
  void handle(std::shared_ptr<HttpExchange> exchange);
  void answer(const std::shared_ptr<HttpExchange>& exchange, Clock::time_point arrived);
  HttpResponse refuse(int status, std::string_view code, std::string_view message, const HttpHead& head) const;
  HttpResponse refusal(const HttpHead& head, Surface surface, const ApiError& error) const;
  Headers response_headers(const HttpHead& head) const;

  ServeOptions options_;
  Access access_;
  std::unique_ptr<Service> service_;
  std::atomic<Service*> serving_{nullptr};  // service_, once it is ready
  std::atomic<bool> ending_{false};
  std::unique_ptr<HttpServer> http_;
  std::thread ticker_;
};

}  // namespace lapidary::server
