// From a JSON Schema to plain alternatives: follows $ref, takes anyOf and oneOf apart, merges allOf. What is left has
// only keywords about one value, which schema_rules turns into rules.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/limits.h"
#include "base/result.h"

namespace lapidary {

// A sub-schema and where it stands ("#/properties/a"), for messages. The JSON outlives the resolver.
struct SchemaPlace {
  const Json* json = nullptr;
  std::string where;
};

// The kinds of value that a plain schema's `type` and `nullable` allow.
enum SchemaKinds : uint8_t {
  kNullKind = 1,
  kBooleanKind = 2,
  kIntegerKind = 4,
  kFractionKind = 8,  // numbers that are no integers: "number" is both
  kStringKind = 16,
  kArrayKind = 32,
  kObjectKind = 64,
  kAllKinds = 127,
};

class SchemaResolver {
 public:
  // strict: an assertion that cannot be honoured is an error; else it is left out.
  SchemaResolver(const Json& root, bool strict) : root_(root), strict_(strict) {}

  bool strict() const { return strict_; }
  // No alternative: nothing satisfies the schema. Errors name the part by its JSON pointer: kUnsupported,
  // kInvalidArgument (malformed), kExhausted (kLimits.schema_nodes_max, schema_alternatives_max).
  Result<std::vector<SchemaPlace>> alternatives(const SchemaPlace& schema);
  // A schema that demands all of the given ones.
  SchemaPlace all_of(const std::vector<SchemaPlace>& schemas);
  // A sub-schema as it stands in a plain schema, merged ones included.
  SchemaPlace child(const SchemaPlace& parent, std::string_view pointer_part, const Json& json) const;

  static Result<uint8_t> kinds(const SchemaPlace& plain);
  static const Json& anything();

 private:
  Result<std::vector<SchemaPlace>> expand(const SchemaPlace& schema);
  Result<std::vector<SchemaPlace>> combine(const SchemaPlace& schema);
  Result<SchemaPlace> target_of(const SchemaPlace& schema);
  Result<void> check_keywords(const SchemaPlace& schema) const;
  Result<void> check_exclusive(const std::vector<std::vector<SchemaPlace>>& branches, const std::string& where);
  bool exclusive(const SchemaPlace& a, const SchemaPlace& b, int depth);
  Result<bool> merge(const SchemaPlace& a, const SchemaPlace& b, SchemaPlace& out);
  Result<void> merge_objects(const SchemaPlace& a, const SchemaPlace& b, Json& out);
  Json link(const SchemaPlace& place);
  bool affordable(size_t a, size_t b);
  Result<void> count_node(const std::string& where);
  Error error(ErrorCode code, std::string_view where, std::string_view what) const;

  const Json& root_;
  bool strict_;
  std::deque<Json> made_;            // merged schemas, at stable addresses
  std::vector<SchemaPlace> linked_;  // what links inside merged schemas stand for
  std::unordered_map<const Json*, std::vector<SchemaPlace>> known_;
  std::vector<const Json*> open_;  // being expanded, outermost first
  size_t cycle_ = SIZE_MAX;        // the outermost open schema that was met again
  int64_t nodes_ = 0;
};

}  // namespace lapidary
