#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/limits.h"
#include "base/utf8.h"

namespace lapidary {
namespace {

// Deepest nesting of brackets outside strings: checked before parsing, because dumping and copying recurse.
int nesting_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

std::string short_dump(const Json& value) {
  std::string text = dump_json(value);
  if (text.size() > 60) text = text.substr(0, utf8_floor(text, 57)) + "...";
  return text;
}

Error too_deep(std::string_view source, int depth) {
  return Error{ErrorCode::kCorruptFile, fmt::format("{}: JSON nested {} levels deep, at most {} allowed", source, depth,
                                                    kLimits.json_depth_max)};
}

// Builds a value from parser events; differs from the library's own builder in what it does with an integer that does
// not fit 64 bits, which the library reports as a floating-point number together with its text.
class ExactBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit ExactBuilder(Json& root) : root_(root) {}

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    if (text.find_first_of(".eE") != string_t::npos) return put(value);
    return put(Json::binary(std::vector<uint8_t>(text.begin(), text.end())));
  }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return false; }  // not in JSON text
  bool start_object(size_t /*elements*/) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(size_t /*elements*/) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string& /*token*/, const nlohmann::detail::exception& /*e*/) override {
    error_byte = position;
    return false;
  }

  size_t error_byte = 0;

 private:
  template <class T>
  bool put(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }
  bool open(Json&& container) {
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  // Only the innermost open container grows, so the addresses of the open ones are stable.
  Json* place(Json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    Json& slot = parent[key_];
    slot = std::move(value);
    return &slot;
  }

  Json& root_;
  std::vector<Json*> open_;
  std::string key_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view source) {
  if (const int depth = nesting_depth(text); depth > kLimits.json_depth_max) {
    return too_deep(source, depth);
  }
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& e) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: not valid JSON at byte {} of {}", source, e.byte, text.size())};
  } catch (const std::exception& e) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: not valid JSON: {}", source, e.what())};
  }
}

Result<Json> parse_json_exact(std::string_view text, std::string_view source) {
  if (const int depth = nesting_depth(text); depth > kLimits.json_depth_max) return too_deep(source, depth);
  try {
    Json value;
    ExactBuilder builder(value);
    if (Json::sax_parse(text, &builder)) return value;
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: not valid JSON at byte {} of {}", source, builder.error_byte, text.size())};
  } catch (const std::exception& e) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: not valid JSON: {}", source, e.what())};
  }
}

std::string_view exact_integer(const Json& value) {
  if (!value.is_binary()) return {};
  const auto& bytes = value.get_binary();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string expected_found(std::string_view expected, const Json& found) {
  return fmt::format("expected {}, found {}", expected, short_dump(found));
}

std::string json_pointer(std::string_view where, std::string_view key) {
  std::string out = std::string(where) + "/";
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

Result<JsonObject> JsonObject::of(const Json& value, std::string source) {
  if (!value.is_object()) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: expected a JSON object, found {}", source, short_dump(value))};
  }
  return JsonObject(value, std::move(source));
}

const Json* JsonObject::find(std::string_view key) const {
  const auto it = value_->find(key);
  return it == value_->end() || it->is_null() ? nullptr : &*it;
}

Error JsonObject::mismatch(std::string_view key, std::string_view expected) const {
  const Json* found = find(key);
  return {ErrorCode::kCorruptFile, fmt::format("{}: \"{}\": expected {}, found {}", source_, key, expected,
                                               found == nullptr ? "nothing" : short_dump(*found))};
}

Result<int64_t> JsonObject::integer(std::string_view key, int64_t min, int64_t max) const {
  const Json* found = find(key);
  const auto wrong = [&] { return mismatch(key, fmt::format("an integer in [{}, {}]", min, max)); };
  if (found == nullptr || !found->is_number_integer()) return wrong();
  if (found->is_number_unsigned() && found->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return wrong();
  const int64_t number = found->get<int64_t>();
  if (number < min || number > max) return wrong();
  return number;
}

Result<double> JsonObject::number(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr || !found->is_number()) return mismatch(key, "a number");
  return found->get<double>();
}

Result<std::string> JsonObject::string(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr || !found->is_string()) return mismatch(key, "a string");
  return found->get<std::string>();
}

Result<bool> JsonObject::boolean(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr || !found->is_boolean()) return mismatch(key, "true or false");
  return found->get<bool>();
}

Result<JsonObject> JsonObject::object(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr || !found->is_object()) return mismatch(key, "an object");
  return JsonObject(*found, fmt::format("{}: {}", source_, key));
}

Result<int64_t> JsonObject::integer_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) const {
  return has(key) ? integer(key, min, max) : Result<int64_t>(fallback);
}

Result<double> JsonObject::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : Result<double>(fallback);
}

Result<std::string> JsonObject::string_or(std::string_view key, std::string fallback) const {
  return has(key) ? string(key) : Result<std::string>(std::move(fallback));
}

Result<bool> JsonObject::boolean_or(std::string_view key, bool fallback) const {
  return has(key) ? boolean(key) : Result<bool>(fallback);
}

}  // namespace lapidary
