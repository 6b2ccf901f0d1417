#include "server/api_error.h"

#include <fmt/format.h>

#include <cmath>

namespace lapidary::server {
namespace {

struct KindRow {
  int openai_status;
  const char* openai_type;
  const char* code;
  int anthropic_status;
  const char* anthropic_type;
  int ollama_status;
  const char* should_retry;  // nullptr: the client decides
};

// In the order of ErrorKind.
constexpr KindRow kKinds[] = {
    {400, "invalid_request_error", "invalid_value", 400, "invalid_request_error", 400, nullptr},
    {401, "invalid_request_error", "invalid_api_key", 401, "authentication_error", 401, nullptr},
    {403, "permission_error", "forbidden", 403, "permission_error", 403, nullptr},
    {404, "invalid_request_error", "not_found", 404, "not_found_error", 404, nullptr},
    {404, "invalid_request_error", "model_not_found", 404, "not_found_error", 404, nullptr},
    {405, "invalid_request_error", "method_not_allowed", 405, "invalid_request_error", 405, nullptr},
    {408, "invalid_request_error", "request_timeout", 408, "timeout_error", 408, nullptr},
    {413, "invalid_request_error", "request_too_large", 413, "request_too_large", 413, nullptr},
    {414, "invalid_request_error", "uri_too_long", 414, "invalid_request_error", 414, nullptr},
    {415, "invalid_request_error", "unsupported_media_type", 415, "invalid_request_error", 415, nullptr},
    {417, "invalid_request_error", "expectation_failed", 417, "invalid_request_error", 417, nullptr},
    {431, "invalid_request_error", "headers_too_large", 431, "invalid_request_error", 431, nullptr},
    {429, "rate_limit_error", "rate_limit_exceeded", 529, "overloaded_error", 503, nullptr},
    {503, "server_error", "service_unavailable", 529, "overloaded_error", 503, nullptr},
    {504, "server_error", "timeout", 504, "timeout_error", 504, "false"},
    {501, "invalid_request_error", "not_supported", 501, "invalid_request_error", 501, "false"},
    {500, "server_error", "internal_error", 500, "api_error", 500, "false"},
};
static_assert(std::size(kKinds) == static_cast<size_t>(ErrorKind::kInternal) + 1);

const KindRow& row_of(const ApiError& error) { return kKinds[static_cast<size_t>(error.kind)]; }

}  // namespace

ApiError bad_request(std::string code, std::string param, std::string message) {
  return {ErrorKind::kInvalidRequest, std::move(code), std::move(message), std::move(param)};
}

int http_status(Surface surface, const ApiError& error) {
  const KindRow& row = row_of(error);
  return surface == Surface::kAnthropic ? row.anthropic_status
         : surface == Surface::kOllama  ? row.ollama_status
                                        : row.openai_status;
}

Json error_json(Surface surface, const ApiError& error, std::string_view request_id) {
  const KindRow& row = row_of(error);
  switch (surface) {
    case Surface::kAnthropic: {
      Json json = {{"type", "error"}, {"error", {{"type", row.anthropic_type}, {"message", error.message}}}};
      if (!request_id.empty()) json["request_id"] = request_id;
      return json;
    }
    case Surface::kOllama:
      return {{"error", error.message}};
    case Surface::kOpenAi:
      break;
  }
  return {{"error",
           {{"message", error.message},
            {"type", row.openai_type},
            {"param", error.param.empty() ? Json(nullptr) : Json(error.param)},
            {"code", error.code.empty() ? std::string(row.code) : error.code}}}};
}

HttpResponse error_response(Surface surface, const ApiError& error, std::string_view request_id) {
  const KindRow& row = row_of(error);
  HttpResponse response;
  response.status = http_status(surface, error);
  response.headers.emplace_back("Content-Type", "application/json");
  if (row.should_retry) response.headers.emplace_back("x-should-retry", row.should_retry);
  if (error.kind == ErrorKind::kUnauthorized) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (!error.allow.empty()) response.headers.emplace_back("Allow", error.allow);
  if (error.retry_after_s > 0) {
    response.headers.emplace_back("Retry-After", fmt::format("{}", std::lround(std::ceil(error.retry_after_s))));
    response.headers.emplace_back("retry-after-ms", fmt::format("{}", std::lround(error.retry_after_s * 1000)));
  }
  response.body = dump_wire_json(error_json(surface, error, request_id)) + "\n";
  return response;
}

}  // namespace lapidary::server
