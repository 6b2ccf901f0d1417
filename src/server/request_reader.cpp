#include "server/request_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

namespace lapidary::server {
namespace {

const Json kEmptyObject = Json::object();

}  // namespace

void RequestReader::fail(ApiError error) const {
  if (!failed()) *error_ = std::move(error);
}

void RequestReader::fail_value(std::string_view key, std::string message) const {
  const std::string where = place(key);
  fail(bad_request("invalid_value", where, fmt::format("{}: {}", where, message)));
}

void RequestReader::fail_type(std::string_view key, std::string_view expected, const Json& found) const {
  const std::string where = place(key);
  fail(bad_request("invalid_type", where, fmt::format("{}: {}", where, expected_found(expected, found))));
}

std::string RequestReader::place(std::string_view key) const {
  if (key.empty()) return path_;
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const Json* RequestReader::find(std::string_view key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

std::optional<bool> RequestReader::boolean(std::string_view key) const {
  const Json* value = find(key);
  if (!value) return {};
  if (value->is_boolean()) return value->get<bool>();
  fail_type(key, "true or false", *value);
  return {};
}

std::optional<int64_t> RequestReader::integer(std::string_view key, int64_t min, int64_t max) const {
  const Json* value = find(key);
  if (!value) return {};
  int64_t number = 0;
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    number = INT64_MAX;
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else if (value->is_number_float() && std::abs(value->get<double>()) < 9e15 &&
             std::trunc(value->get<double>()) == value->get<double>()) {
    number = static_cast<int64_t>(value->get<double>());
  } else {
    fail_type(key, "an integer", *value);
    return {};
  }
  if (number >= min && number <= max) return number;
  fail_value(key, max == INT64_MAX   ? fmt::format("expected at least {}, found {}", min, number)
                  : min == INT64_MIN ? fmt::format("expected at most {}, found {}", max, number)
                                     : fmt::format("expected {} to {}, found {}", min, max, number));
  return {};
}

std::optional<double> RequestReader::number(std::string_view key, double min, double max) const {
  const Json* value = find(key);
  if (!value) return {};
  if (!value->is_number()) {
    fail_type(key, "a number", *value);
    return {};
  }
  const double number = value->get<double>();
  if (number >= min && number <= max) return number;
  fail_value(key, fmt::format("expected {} to {}, found {}", min, max, number));
  return {};
}

std::optional<std::string> RequestReader::string(std::string_view key) const {
  const Json* value = find(key);
  if (!value) return {};
  if (value->is_string()) return value->get<std::string>();
  fail_type(key, "a string", *value);
  return {};
}

std::optional<std::string> RequestReader::one_of(std::string_view key,
                                                 std::initializer_list<std::string_view> allowed) const {
  std::optional<std::string> value = string(key);
  if (!value) return {};
  for (const std::string_view word : allowed) {
    if (*value == word) return value;
  }
  fail_value(key, fmt::format("expected one of {}, found \"{}\"", fmt::join(allowed, ", "), *value));
  return {};
}

const Json* RequestReader::array(std::string_view key) const {
  const Json* value = find(key);
  if (!value || value->is_array()) return value;
  fail_type(key, "a list", *value);
  return nullptr;
}

const Json* RequestReader::object(std::string_view key) const {
  const Json* value = find(key);
  if (!value || value->is_object()) return value;
  fail_type(key, "an object", *value);
  return nullptr;
}

std::vector<std::string> RequestReader::strings(std::string_view key, size_t count_max) const {
  const Json* value = find(key);
  if (!value) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) {
    fail_type(key, "a string or a list of strings", *value);
    return {};
  }
  if (value->size() > count_max) {
    fail_value(key, fmt::format("expected at most {} entries, found {}", count_max, value->size()));
    return {};
  }
  std::vector<std::string> all;
  for (size_t i = 0; i < value->size(); ++i) {
    if (!(*value)[i].is_string()) {
      fail_type(fmt::format("{}[{}]", key, i), "a string", (*value)[i]);
      return {};
    }
    all.push_back((*value)[i].get<std::string>());
  }
  return all;
}

const Json* RequestReader::required(std::string_view key) const {
  const Json* value = find(key);
  if (value) return value;
  const std::string where = place(key);
  fail(bad_request("missing_required_parameter", where, fmt::format("missing required parameter: {}", where)));
  return nullptr;
}

std::string RequestReader::required_string(std::string_view key) const {
  return required(key) ? string(key).value_or("") : "";
}

RequestReader RequestReader::inside(std::string_view key) const {
  const Json* value = object(key);
  return {value ? *value : kEmptyObject, place(key), *error_};
}

RequestReader RequestReader::element(std::string_view key, size_t index) const {
  const Json& value = (*object_)[key][index];
  const std::string name = fmt::format("{}[{}]", key, index);
  if (!value.is_object()) fail_type(name, "an object", value);
  return {value.is_object() ? value : kEmptyObject, place(name), *error_};
}

void RequestReader::ignore_type(std::string_view key, std::string_view expected, bool is_right) const {
  if (has(key) && !is_right) fail_type(key, expected, *find(key));
}

ApiResult<Json> parse_body(std::string_view body) {
  if (body.starts_with("\xEF\xBB\xBF")) body.remove_prefix(3);
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return bad_request("invalid_json", "", "the body is empty, expected a JSON object");
  Result<Json> json = parse_json_exact(body, "body");
  if (!json) return bad_request("invalid_json", "", json.error().message);
  if (!json->is_object())
    return bad_request("invalid_json", "", fmt::format("body: {}", expected_found("a JSON object", *json)));
  return std::move(*json);
}

}  // namespace lapidary::server
