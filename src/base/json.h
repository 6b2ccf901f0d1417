// JSON for configurations, schemas and output. Object keys keep their order of appearance. Nothing here throws.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lapidary {

using Json = nlohmann::ordered_json;

// source names the text in messages ("models/demo/config.json"). Errors: kCorruptFile for bad syntax (with the byte
// position), invalid UTF-8 or nesting deeper than Limits::json_depth_max.
Result<Json> parse_json(std::string_view text, std::string_view source);

// As parse_json, but an integer beyond 64 bits keeps its decimal digits (exact_integer below) where parse_json rounds
// it to a double: what a tool is called with must be what was written.
Result<Json> parse_json_exact(std::string_view text, std::string_view source);

// The digits of an integer beyond 64 bits, empty for every other value. It is kept as a binary value, a kind that JSON
// text cannot produce.
std::string_view exact_integer(const Json& value);

// Compact text; exact integers as their digits. Invalid UTF-8 in strings is replaced, never thrown at; what is not a
// finite number is null.
std::string dump_json(const Json& value);

// The same for what leaves through a network: U+0085, U+2028 and U+2029 are escaped too, because readers of event
// streams and JSON lines split there.
std::string dump_wire_json(const Json& value);

// The characters of a string as dump_wire_json writes them between its quotes. Pieces of a text that are cut between
// characters append to what the whole gives.
void append_wire_characters(std::string& out, std::string_view text);

// "expected a list, found 7": for messages; a long value is cut short.
std::string expected_found(std::string_view expected, const Json& found);

// The JSON pointer (RFC 6901) to `key` of the object at pointer `where`: ~ and / of the key become ~0 and ~1.
std::string json_pointer(std::string_view where, std::string_view key);

// A JSON object with its name, for reading configurations: every error says source, key, expected and found.
class JsonObject {
 public:
  // Errors: kCorruptFile when value is not an object.
  static Result<JsonObject> of(const Json& value, std::string source);

  const std::string& source() const { return source_; }
  const Json& json() const { return *value_; }
  bool has(std::string_view key) const { return find(key) != nullptr; }  // present and not null

  // Required values. Errors: kCorruptFile when missing, of another type or out of [min, max].
  Result<int64_t> integer(std::string_view key, int64_t min, int64_t max) const;
  Result<double> number(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<JsonObject> object(std::string_view key) const;

  // Optional values: fallback when the key is absent or null; still an error when it is of another type.
  Result<int64_t> integer_or(std::string_view key, int64_t min, int64_t max, int64_t fallback) const;
  Result<double> number_or(std::string_view key, double fallback) const;
  Result<std::string> string_or(std::string_view key, std::string fallback) const;
  Result<bool> boolean_or(std::string_view key, bool fallback) const;

  const Json* find(std::string_view key) const;  // nullptr when absent or null

 private:
  JsonObject(const Json& value, std::string source) : value_(&value), source_(std::move(source)) {}
  Error mismatch(std::string_view key, std::string_view expected) const;

  const Json* value_;
  std::string source_;
};

}  // namespace lapidary
