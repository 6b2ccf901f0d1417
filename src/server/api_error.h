// What goes wrong with a request, once, and how each surface says it: server-api.md §1.5 as a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "http/http.h"

namespace lapidary::server {

enum class Surface : uint8_t { kOpenAi, kAnthropic, kOllama };

// Rows of the table in api_error.cpp: status and type on each surface, and the default code.
enum class ErrorKind : uint8_t {
  kInvalidRequest,  // 400; the code says which
  kUnauthorized,    // 401
  kForbidden,       // 403
  kNotFound,        // 404
  kModelNotFound,   // 404
  kMethodNotAllowed,
  kTimeout,  // 408: the request did not arrive
  kTooLarge,
  kUriTooLong,
  kUnsupportedMediaType,  // 415: of a body
  kExpectationFailed,
  kHeadersTooLarge,
  kQueueFull,     // 429, 529, 503
  kUnavailable,   // 503: loading or draining
  kDeadline,      // 504: never retried
  kNotSupported,  // 501: never retried
  kInternal,      // 500
};

struct ApiError {
  ErrorKind kind = ErrorKind::kInvalidRequest;
  std::string code;          // "invalid_type"; empty: the kind's own
  std::string message;       // what, where, expected, found
  std::string param;         // "messages[2].content"; empty: null
  double retry_after_s = 0;  // > 0: Retry-After and retry-after-ms
  std::string allow = {};    // of kMethodNotAllowed: the methods there are
};

// 400 with a code of its own: invalid_json, missing_required_parameter, invalid_type, invalid_value,
// unsupported_parameter, unsupported_value, invalid_json_schema, invalid_grammar, invalid_function_parameters,
// invalid_tool_call_history, invalid_image, invalid_audio, invalid_video, unsupported_media_type,
// media_url_not_allowed, failed_to_download_media, too_many_media, context_length_exceeded, ...
ApiError bad_request(std::string code, std::string param, std::string message);

int http_status(Surface surface, const ApiError& error);
// The error object as that surface has it, also for an event in the middle of a stream. request_id: for surfaces that
// have a place for it.
Json error_json(Surface surface, const ApiError& error, std::string_view request_id = {});
// With Retry-After, x-should-retry, Allow and WWW-Authenticate where they belong.
HttpResponse error_response(Surface surface, const ApiError& error, std::string_view request_id = {});

// A value, or the ApiError that took its place.
template <class T>
class [[nodiscard]] ApiResult {
 public:
  ApiResult(T value) : value_(std::move(value)) {}         // NOLINT: implicit, as Result
  ApiResult(ApiError error) : error_(std::move(error)) {}  // NOLINT

  explicit operator bool() const { return value_.has_value(); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  const ApiError& error() const& { return error_; }
  ApiError&& error() && { return std::move(error_); }
  T&& value() && { return std::move(*value_); }

 private:
  std::optional<T> value_;
  ApiError error_;
};

}  // namespace lapidary::server
