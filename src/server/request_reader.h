// Reading one JSON object of a request. The first thing that is wrong is kept, with its place; reading goes on with
// fallbacks, so that a surface's fields can be read one after the other and checked once at the end. Null is the same
// as absent, and fields that nobody asks for are ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "server/api_error.h"

namespace lapidary::server {

class RequestReader {
 public:
  // error is shared by the readers of one request and outlives them. path: of the object, "" or "messages[2]".
  RequestReader(const Json& object, std::string path, std::optional<ApiError>& error)
      : object_(&object), path_(std::move(path)), error_(&error) {}

  bool failed() const { return error_->has_value(); }
  // Keeps the first error only.
  void fail(ApiError error) const;
  void fail_value(std::string_view key, std::string message) const;  // invalid_value

  const Json& json() const { return *object_; }
  const Json* find(std::string_view key) const;  // nullptr when absent or null
  bool has(std::string_view key) const { return find(key) != nullptr; }
  std::string place(std::string_view key) const;  // "messages[2].content"
  const std::string& path() const { return path_; }

  // Absent: nothing. Errors: invalid_type, invalid_value when out of [min, max].
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key, int64_t min, int64_t max) const;  // 5 and 5.0
  std::optional<double> number(std::string_view key, double min, double max) const;
  std::optional<std::string> string(std::string_view key) const;
  std::optional<std::string> one_of(std::string_view key, std::initializer_list<std::string_view> allowed) const;
  const Json* array(std::string_view key) const;  // nullptr when absent, null or (with an error) no list
  const Json* object(std::string_view key) const;
  // A string, or a list of strings; empty when absent.
  std::vector<std::string> strings(std::string_view key, size_t count_max) const;

  // missing_required_parameter when absent.
  const Json* required(std::string_view key) const;
  std::string required_string(std::string_view key) const;

  // A reader of an object inside this one; of an empty object when it is none.
  RequestReader inside(std::string_view key) const;
  RequestReader element(std::string_view key, size_t index) const;  // of a list whose type was checked

  // Checked for its type only.
  void ignore_type(std::string_view key, std::string_view expected, bool is_right) const;

 private:
  void fail_type(std::string_view key, std::string_view expected, const Json& found) const;

  const Json* object_;
  std::string path_;
  std::optional<ApiError>* error_;
};

// The body of a request as an object: a byte order mark is dropped. Errors: invalid_json.
ApiResult<Json> parse_body(std::string_view body);

}  // namespace lapidary::server
