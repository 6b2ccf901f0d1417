// Who may ask: keys, Host headers, origins. server-api.md §6.1.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "http/http.h"
#include "server/api_error.h"

namespace lapidary::server {

struct AccessRules {
  std::vector<std::string> keys;           // none: everybody may
  std::vector<std::string> cors_origins;   // exact, or * for any
  std::vector<std::string> allowed_hosts;  // beside the machine's own names
  bool check_host = true;                  // the server listens on a loopback address
};

class Access {
 public:
  explicit Access(AccessRules rules) : rules_(std::move(rules)) {}

  // Authorization: Bearer, x-api-key or api-key. Errors: kUnauthorized.
  std::optional<ApiError> check_key(const HttpHead& head) const;
  // Against pages that reach a loopback server under a name of their own (DNS rebinding). Errors: kForbidden.
  std::optional<ApiError> check_host(const HttpHead& head) const;
  // Access-Control-*, when the request's origin is listed.
  void add_cors(const HttpHead& head, Headers& headers) const;
  HttpResponse preflight(const HttpHead& head) const;

  // Any thread.
  void replace_keys(std::vector<std::string> keys);

 private:
  AccessRules rules_;
  mutable std::mutex mutex_;  // guards rules_.keys
};

bool is_loopback_host(std::string_view host);

}  // namespace lapidary::server
