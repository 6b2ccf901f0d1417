#include "server/access.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "http/text.h"

namespace lapidary::server {
namespace {

// Takes as long whatever the difference.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (a[i] ^ (b.empty() ? '\0' : b[i % b.size()])));
  }
  return difference == 0;
}

// Without brackets and port.
std::string_view host_of(std::string_view host) {
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  const size_t colon = host.rfind(':');
  return colon == host.find(':') ? host.substr(0, colon) : host;
}

bool is_private_address(std::string_view host) {
  const std::string text(host);
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    const uint32_t address = ntohl(v4.s_addr);
    return address >> 24 == 127 || address >> 24 == 10 || address >> 20 == 0xac1 || address >> 16 == 0xc0a8 ||
           address >> 16 == 0xa9fe || address == 0;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6) || (v6.s6_addr[0] & 0xfe) == 0xfc;
}

std::string machine_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  if (host == "localhost" || host == "::1" || host == "[::1]") return true;
  in_addr v4{};
  return inet_pton(AF_INET, std::string(host).c_str(), &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

std::optional<ApiError> Access::check_key(const HttpHead& head) const {
  const std::lock_guard lock(mutex_);
  if (rules_.keys.empty()) return {};
  std::string_view given;
  if (const std::string* authorization = find_header(head.headers, "authorization")) {
    const size_t space = authorization->find(' ');
    if (space != std::string::npos && equal_ignoring_case(std::string_view(*authorization).substr(0, space), "bearer"))
      given = trim_http_space(std::string_view(*authorization).substr(space + 1));
  }
  for (const char* name : {"x-api-key", "api-key"}) {
    if (const std::string* key = find_header(head.headers, name); key && given.empty()) given = *key;
  }
  if (given.empty())
    return ApiError{ErrorKind::kUnauthorized, "",
                    "You didn't provide an API key: send it as Authorization: Bearer KEY."};
  bool known = false;
  for (const std::string& key : rules_.keys) known = equal_in_constant_time(given, key) || known;
  if (known) return {};
  return ApiError{ErrorKind::kUnauthorized, "", "Incorrect API key provided."};
}

std::optional<ApiError> Access::check_host(const HttpHead& head) const {
  if (!rules_.check_host) return {};
  const std::string* header = find_header(head.headers, "host");
  if (!header) return {};  // HTTP/1.0
  std::string host(host_of(*header));
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (host.ends_with('.')) host.pop_back();
  const bool ours =
      host == "localhost" || is_private_address(host) || host.ends_with(".localhost") || host.ends_with(".local") ||
      host.ends_with(".internal") || host == machine_name() ||
      std::find(rules_.allowed_hosts.begin(), rules_.allowed_hosts.end(), host) != rules_.allowed_hosts.end();
  if (ours) return {};
  return ApiError{
      ErrorKind::kForbidden, "",
      fmt::format("the Host \"{}\" is none of this server's; --allowed-host lets it in", host.substr(0, 100))};
}

void Access::add_cors(const HttpHead& head, Headers& headers) const {
  const std::string* origin = find_header(head.headers, "origin");
  if (!origin) return;
  for (const std::string& allowed : rules_.cors_origins) {
    if (allowed != "*" && allowed != *origin) continue;
    headers.emplace_back("Access-Control-Allow-Origin", allowed == "*" ? "*" : *origin);
    headers.emplace_back("Access-Control-Expose-Headers", "x-request-id, request-id, retry-after, retry-after-ms");
    headers.emplace_back("Vary", "Origin");
    return;
  }
}

HttpResponse Access::preflight(const HttpHead& head) const {
  HttpResponse response;
  response.status = 204;
  add_cors(head, response.headers);
  if (response.headers.empty()) return response;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
  response.headers.emplace_back("Access-Control-Max-Age", "86400");
  // What the clients of §6.1 send; x-stainless-* is a family, so what was asked for is repeated.
  std::string allowed =
      "Authorization, Content-Type, x-api-key, anthropic-version, anthropic-beta, "
      "anthropic-dangerous-direct-browser-access, OpenAI-Beta, X-Requested-With, User-Agent, Accept";
  if (const std::string* asked = find_header(head.headers, "access-control-request-headers")) {
    std::string_view list = *asked;
    while (!list.empty()) {
      const std::string_view name = next_list_element(list);
      if (name.size() > 12 && equal_ignoring_case(name.substr(0, 12), "x-stainless-") && http_token(name))
        allowed += fmt::format(", {}", name);
    }
  }
  response.headers.emplace_back("Access-Control-Allow-Headers", allowed);
  return response;
}

void Access::replace_keys(std::vector<std::string> keys) {
  const std::lock_guard lock(mutex_);
  rules_.keys = std::move(keys);
}

}  // namespace lapidary::server
