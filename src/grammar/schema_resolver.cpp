#include "grammar/schema_resolver.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

namespace lapidary {
namespace {

constexpr uint64_t kLinkSubtype = 7;  // binary values do not occur in JSON text, so nobody can write a link

// Numbers of many digits are binary values, too (parse_json_exact).
bool is_link(const Json& json) {
  return json.is_binary() && json.get_binary().has_subtype() && json.get_binary().subtype() == kLinkSubtype;
}

constexpr std::array<std::string_view, 4> kCombiners{"$ref", "anyOf", "oneOf", "allOf"};
// Keywords that demand something of the value and are honoured.
constexpr std::array<std::string_view, 26> kHonoured{"type",
                                                     "nullable",
                                                     "enum",
                                                     "const",
                                                     "properties",
                                                     "required",
                                                     "additionalProperties",
                                                     "patternProperties",
                                                     "propertyNames",
                                                     "minProperties",
                                                     "maxProperties",
                                                     "items",
                                                     "prefixItems",
                                                     "additionalItems",
                                                     "minItems",
                                                     "maxItems",
                                                     "uniqueItems",
                                                     "minLength",
                                                     "maxLength",
                                                     "pattern",
                                                     "format",
                                                     "minimum",
                                                     "maximum",
                                                     "exclusiveMinimum",
                                                     "exclusiveMaximum",
                                                     "multipleOf"};
constexpr std::array<std::string_view, 13> kRefused{
    "not",         "if",          "dependentRequired",   "dependentSchemas",      "dependencies",
    "contains",    "$dynamicRef", "$recursiveRef",       "unevaluatedProperties", "unevaluatedItems",
    "minContains", "maxContains", "propertyDependencies"};

template <size_t n>
bool one_of(const std::array<std::string_view, n>& list, std::string_view key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

const Json* find(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

std::vector<Json> values_of(const Json& schema) {
  std::vector<Json> values;
  const Json* constant = find(schema, "const");
  const Json* choices = find(schema, "enum");
  if (choices != nullptr && choices->is_array()) values.assign(choices->begin(), choices->end());
  if (constant == nullptr) return values;
  if (choices == nullptr || std::find(values.begin(), values.end(), *constant) != values.end()) return {*constant};
  return {};
}

bool has_values(const Json& schema) { return schema.contains("enum") || schema.contains("const"); }

uint8_t kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return kNullKind;
    case Json::value_t::boolean:
      return kBooleanKind;
    case Json::value_t::string:
      return kStringKind;
    case Json::value_t::array:
      return kArrayKind;
    case Json::value_t::object:
      return kObjectKind;
    case Json::value_t::number_float: {
      const double number = value.get<double>();
      return number == std::floor(number) ? kIntegerKind : kFractionKind;
    }
    default:
      return kIntegerKind;
  }
}

Json type_list(uint8_t kinds) {
  Json list = Json::array();
  if ((kinds & kNullKind) != 0) list.push_back("null");
  if ((kinds & kBooleanKind) != 0) list.push_back("boolean");
  if ((kinds & kFractionKind) != 0) {
    list.push_back("number");
  } else if ((kinds & kIntegerKind) != 0) {
    list.push_back("integer");
  }
  if ((kinds & kStringKind) != 0) list.push_back("string");
  if ((kinds & kArrayKind) != 0) list.push_back("array");
  if ((kinds & kObjectKind) != 0) list.push_back("object");
  return list;
}

bool holds(const std::vector<Json>& values, const Json& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

const Json& SchemaResolver::anything() {
  static const Json schema = Json::object();
  return schema;
}

Error SchemaResolver::error(ErrorCode code, std::string_view where, std::string_view what) const {
  return {code, fmt::format("schema {}: {}", where, what)};
}

Result<void> SchemaResolver::count_node(const std::string& where) {
  if (++nodes_ <= kLimits.schema_nodes_max) return {};
  return error(ErrorCode::kExhausted, where, fmt::format("more than {} sub-schemas", kLimits.schema_nodes_max));
}

// Comparing lists of constants is charged like looking at sub-schemas.
bool SchemaResolver::affordable(size_t a, size_t b) {
  nodes_ += static_cast<int64_t>(a * b / 1000);
  return nodes_ <= kLimits.schema_nodes_max;
}

Result<std::vector<SchemaPlace>> SchemaResolver::alternatives(const SchemaPlace& schema) {
  open_.clear();
  cycle_ = SIZE_MAX;
  return expand(schema);
}

Json SchemaResolver::link(const SchemaPlace& place) {
  const auto index = static_cast<uint32_t>(linked_.size());
  linked_.push_back(place);
  std::vector<uint8_t> bytes(sizeof(index));
  std::memcpy(bytes.data(), &index, sizeof(index));
  return Json::binary(std::move(bytes), kLinkSubtype);
}

SchemaPlace SchemaResolver::child(const SchemaPlace& parent, std::string_view part, const Json& json) const {
  if (is_link(json)) {
    uint32_t index = 0;
    std::memcpy(&index, json.get_binary().data(), sizeof(index));
    return linked_[index];
  }
  return {&json, std::string(parent.where) + std::string(part)};
}

SchemaPlace SchemaResolver::all_of(const std::vector<SchemaPlace>& schemas) {
  if (schemas.size() == 1) return schemas[0];
  Json list = Json::array();
  for (const SchemaPlace& schema : schemas) list.push_back(link(schema));
  made_.push_back(Json::object({{"allOf", std::move(list)}}));
  return {&made_.back(), schemas[0].where};
}

Result<uint8_t> SchemaResolver::kinds(const SchemaPlace& plain) {
  const Json* type = find(*plain.json, "type");
  if (type == nullptr || type->is_null()) return static_cast<uint8_t>(kAllKinds);
  uint8_t found = 0;
  const auto add = [&](const Json& name) {
    static const std::vector<std::pair<std::string_view, int>> kNames{
        {"null", kNullKind},       {"boolean", kBooleanKind},
        {"integer", kIntegerKind}, {"number", kIntegerKind | kFractionKind},
        {"string", kStringKind},   {"array", kArrayKind},
        {"object", kObjectKind}};
    for (const auto& [text, kind] : kNames) {
      if (name.is_string() && name.get_ref<const std::string&>() == text)
        return found |= static_cast<uint8_t>(kind), true;
    }
    return false;
  };
  bool good = true;
  if (type->is_array()) {
    for (const Json& name : *type) good = add(name) && good;
  } else {
    good = add(*type);
  }
  if (!good) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("schema {}/type: expected names of JSON types, found {}",
                                                          plain.where, dump_json(*type).substr(0, 80))};
  }
  if (const Json* nullable = find(*plain.json, "nullable"); nullable != nullptr && *nullable == true)
    found |= kNullKind;
  return found;
}

Result<void> SchemaResolver::check_keywords(const SchemaPlace& schema) const {
  if (!strict_) return {};
  for (const auto& [key, value] : schema.json->items()) {
    if (one_of(kRefused, key)) return error(ErrorCode::kUnsupported, json_pointer(schema.where, key), "not supported");
  }
  return {};
}

Result<SchemaPlace> SchemaResolver::target_of(const SchemaPlace& schema) {
  const Json& ref = *find(*schema.json, "$ref");
  const std::string where = schema.where + "/$ref";
  if (!ref.is_string()) return error(ErrorCode::kInvalidArgument, where, expected_found("a string", ref));
  const std::string& text = ref.get_ref<const std::string&>();
  const bool local = text == "#" || text.starts_with("#/");
  if (!local) return error(ErrorCode::kUnsupported, where, "only references into the same schema (#/...) are followed");
  const Json* at = &root_;
  for (size_t begin = 2; begin <= text.size() && text.size() > 1;) {
    const size_t end = std::min(text.find('/', begin), text.size());
    std::string key;
    for (size_t i = begin; i < end; ++i) {
      if (text[i] == '~' && i + 1 < end && (text[i + 1] == '0' || text[i + 1] == '1')) {
        key += text[++i] == '0' ? '~' : '/';
      } else if (text[i] == '%' && i + 2 < end && std::isxdigit(static_cast<uint8_t>(text[i + 1])) != 0 &&
                 std::isxdigit(static_cast<uint8_t>(text[i + 2])) != 0) {
        key += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        key += text[i];
      }
    }
    const Json* next = nullptr;
    if (at->is_object()) {
      next = find(*at, key.c_str());
    } else if (at->is_array() && !key.empty() && key.size() < 7 &&
               std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      const auto index = static_cast<size_t>(std::stoi(key));
      if (index < at->size()) next = &(*at)[index];
    }
    if (next == nullptr)
      return error(ErrorCode::kInvalidArgument, where, fmt::format("{} is not there", text.substr(0, 200)));
    at = next;
    begin = end + 1;
  }
  return SchemaPlace{at, text};
}

Result<std::vector<SchemaPlace>> SchemaResolver::expand(const SchemaPlace& schema) {
  const Json& json = *schema.json;
  if (json.is_boolean()) {
    std::vector<SchemaPlace> one;
    if (json.get<bool>()) one.push_back({&anything(), schema.where});
    return one;
  }
  if (is_link(json)) return expand(child(schema, "", json));
  if (!json.is_object())
    return error(ErrorCode::kInvalidArgument, schema.where, expected_found("an object or a boolean", json));
  if (const auto known = known_.find(&json); known != known_.end()) return known->second;
  const auto again = std::find(open_.begin(), open_.end(), &json);
  if (again != open_.end()) {
    // The schema as an alternative of itself: it adds no value that the other alternatives do not have.
    cycle_ = std::min(cycle_, static_cast<size_t>(again - open_.begin()));
    return std::vector<SchemaPlace>{};
  }
  RETURN_IF_ERROR(count_node(schema.where));
  RETURN_IF_ERROR(check_keywords(schema));
  if (open_.size() > static_cast<size_t>(4 * kLimits.json_depth_max)) {
    return error(ErrorCode::kExhausted, schema.where,
                 fmt::format("more than {} references in a row", 4 * kLimits.json_depth_max));
  }
  open_.push_back(&json);
  Result<std::vector<SchemaPlace>> found = combine(schema);
  open_.pop_back();
  if (!found) return found;
  // What was found while an outer schema was still open lacks that schema's alternatives: not to be remembered.
  if (cycle_ >= open_.size()) {
    cycle_ = SIZE_MAX;
    known_[&json] = *found;
  }
  return found;
}

Result<std::vector<SchemaPlace>> SchemaResolver::combine(const SchemaPlace& schema) {
  const Json& json = *schema.json;
  const bool combined = std::any_of(kCombiners.begin(), kCombiners.end(),
                                    [&](std::string_view key) { return json.contains(std::string(key)); });
  if (!combined) return std::vector<SchemaPlace>{schema};

  std::vector<std::vector<SchemaPlace>> demands;  // one alternative of each
  Json own = Json::object();
  for (const auto& [key, value] : json.items()) {
    if (!one_of(kHonoured, key)) continue;
    // Sub-schemas stay where they are.
    if (key == "properties" || key == "patternProperties") {
      Json links = Json::object();
      if (!value.is_object())
        return error(ErrorCode::kInvalidArgument, json_pointer(schema.where, key), expected_found("an object", value));
      for (const auto& [name, property] : value.items()) {
        RETURN_IF_ERROR(count_node(schema.where));
        links[name] = link(child(schema, json_pointer("/" + key, name), property));
      }
      own[key] = std::move(links);
    } else if (key == "additionalProperties" || key == "propertyNames" || key == "additionalItems" ||
               (key == "items" && !value.is_array())) {
      own[key] = link(child(schema, "/" + key, value));
    } else if (key == "prefixItems" || key == "items") {
      Json links = Json::array();
      if (!value.is_array())
        return error(ErrorCode::kInvalidArgument, json_pointer(schema.where, key), expected_found("a list", value));
      for (size_t i = 0; i < value.size(); ++i) {
        RETURN_IF_ERROR(count_node(schema.where));
        links.push_back(link(child(schema, fmt::format("/{}/{}", key, i), value[i])));
      }
      own[key] = std::move(links);
    } else {
      own[key] = value;
    }
  }
  if (!own.empty()) {
    made_.push_back(std::move(own));
    demands.push_back({{&made_.back(), schema.where}});
  }
  if (json.contains("$ref")) {
    ASSIGN_OR_RETURN(const SchemaPlace target, target_of(schema));
    ASSIGN_OR_RETURN(std::vector<SchemaPlace> found, expand(target));
    demands.push_back(std::move(found));
  }
  for (const char* key : {"allOf", "anyOf", "oneOf"}) {
    const Json* list = find(json, key);
    if (list == nullptr) continue;
    const std::string where = schema.where + "/" + key;
    if (!list->is_array() || list->empty())
      return error(ErrorCode::kInvalidArgument, where, expected_found("a list of schemas", *list));
    std::vector<std::vector<SchemaPlace>> branches;
    for (size_t i = 0; i < list->size(); ++i) {
      ASSIGN_OR_RETURN(std::vector<SchemaPlace> found,
                       expand(child({nullptr, where}, fmt::format("/{}", i), (*list)[i])));
      branches.push_back(std::move(found));
    }
    if (std::string_view(key) == "allOf") {
      demands.insert(demands.end(), branches.begin(), branches.end());
      continue;
    }
    if (std::string_view(key) == "oneOf" && strict_) RETURN_IF_ERROR(check_exclusive(branches, where));
    std::vector<SchemaPlace> any;
    for (const std::vector<SchemaPlace>& branch : branches) {
      for (const SchemaPlace& place : branch) {
        const bool there =
            std::any_of(any.begin(), any.end(), [&](const SchemaPlace& p) { return p.json == place.json; });
        if (!there) any.push_back(place);
      }
      if (any.size() > static_cast<size_t>(kLimits.schema_alternatives_max)) break;
    }
    demands.push_back(std::move(any));
  }

  if (demands.empty()) return std::vector<SchemaPlace>{{&anything(), schema.where}};
  std::vector<SchemaPlace> all = demands[0];
  for (size_t d = 1; d < demands.size(); ++d) {
    std::vector<SchemaPlace> merged;
    for (const SchemaPlace& a : all) {
      for (const SchemaPlace& b : demands[d]) {
        RETURN_IF_ERROR(count_node(schema.where));
        SchemaPlace both;
        ASSIGN_OR_RETURN(const bool possible, merge(a, b, both));
        if (possible) merged.push_back(std::move(both));
      }
    }
    all = std::move(merged);
  }
  if (all.size() > static_cast<size_t>(kLimits.schema_alternatives_max)) {
    return error(ErrorCode::kExhausted, schema.where,
                 fmt::format("more than {} alternatives", kLimits.schema_alternatives_max));
  }
  return all;
}

// oneOf is honoured as anyOf, which is the same only when no value satisfies two branches.
Result<void> SchemaResolver::check_exclusive(const std::vector<std::vector<SchemaPlace>>& branches,
                                             const std::string& where) {
  for (size_t i = 0; i < branches.size(); ++i) {
    for (size_t j = i + 1; j < branches.size(); ++j) {
      for (const SchemaPlace& a : branches[i]) {
        for (const SchemaPlace& b : branches[j]) {
          RETURN_IF_ERROR(count_node(where));
          if (exclusive(a, b, 0)) continue;
          return error(ErrorCode::kUnsupported, where,
                       fmt::format("branches {} and {} may hold for the same value: tell them apart by type, or by a "
                                   "required property with different constants, or use anyOf",
                                   i, j));
        }
      }
    }
  }
  return {};
}

bool SchemaResolver::exclusive(const SchemaPlace& a, const SchemaPlace& b, int depth) {
  const Result<uint8_t> kinds_a = kinds(a), kinds_b = kinds(b);
  if (!kinds_a || !kinds_b) return false;
  const auto kinds_with_values = [](const SchemaPlace& place, uint8_t kinds) {
    if (!has_values(*place.json)) return kinds;
    uint8_t found = 0;
    for (const Json& value : values_of(*place.json)) found |= kind_of(value) & kinds;
    return found;
  };
  const uint8_t common = kinds_with_values(a, *kinds_a) & kinds_with_values(b, *kinds_b);
  if (common == 0) return true;
  if (has_values(*a.json) && has_values(*b.json)) {
    const std::vector<Json> in_a = values_of(*a.json), in_b = values_of(*b.json);
    if (!affordable(in_a.size(), in_b.size())) return false;
    return std::none_of(in_a.begin(), in_a.end(), [&](const Json& value) { return holds(in_b, value); });
  }
  if (common != kObjectKind || depth > 2) return false;
  const Json* required_a = find(*a.json, "required");
  const Json* required_b = find(*b.json, "required");
  const Json* properties_a = find(*a.json, "properties");
  const Json* properties_b = find(*b.json, "properties");
  if (required_a == nullptr || required_b == nullptr || properties_a == nullptr || properties_b == nullptr)
    return false;
  if (!properties_a->is_object() || !properties_b->is_object()) return false;
  for (const Json& name : *required_a) {
    if (!name.is_string() || std::find(required_b->begin(), required_b->end(), name) == required_b->end()) continue;
    const std::string& key = name.get_ref<const std::string&>();
    const Json* in_a = find(*properties_a, key.c_str());
    const Json* in_b = find(*properties_b, key.c_str());
    if (in_a == nullptr || in_b == nullptr) continue;
    const Result<std::vector<SchemaPlace>> all_a = expand(child(a, "", *in_a)), all_b = expand(child(b, "", *in_b));
    if (!all_a || !all_b) continue;
    const bool apart = std::all_of(all_a->begin(), all_a->end(), [&](const SchemaPlace& x) {
      return std::all_of(all_b->begin(), all_b->end(),
                         [&](const SchemaPlace& y) { return exclusive(x, y, depth + 1); });
    });
    if (apart) return true;
  }
  return false;
}

// out: what demands both. False when their types or constants have nothing in common.
Result<bool> SchemaResolver::merge(const SchemaPlace& a, const SchemaPlace& b, SchemaPlace& out) {
  if (a.json == b.json || b.json->empty()) return out = a, true;
  if (a.json->empty()) return out = b, true;
  ASSIGN_OR_RETURN(const uint8_t kinds_a, kinds(a));
  ASSIGN_OR_RETURN(const uint8_t kinds_b, kinds(b));
  Json both = Json::object();
  const uint8_t common = kinds_a & kinds_b;
  if (common == 0) return false;
  if (common != kAllKinds) both["type"] = type_list(common);

  if (has_values(*a.json) || has_values(*b.json)) {
    std::vector<Json> values = has_values(*a.json) ? values_of(*a.json) : values_of(*b.json);
    if (has_values(*a.json) && has_values(*b.json)) {
      const std::vector<Json> other = values_of(*b.json);
      if (!affordable(values.size(), other.size())) {
        return error(ErrorCode::kExhausted, a.where, "too many constants to compare");
      }
      std::erase_if(values, [&](const Json& value) { return !holds(other, value); });
    }
    if (values.empty()) return false;
    both["enum"] = values;
  }
  static const std::set<std::string_view> kHigher{"minimum", "exclusiveMinimum", "minLength", "minItems",
                                                  "minProperties"};
  static const std::set<std::string_view> kLower{"maximum", "exclusiveMaximum", "maxLength", "maxItems",
                                                 "maxProperties"};
  for (const SchemaPlace* place : {&a, &b}) {
    for (const auto& [key, value] : place->json->items()) {
      const auto there = both.find(key);
      if (kHigher.count(key) != 0 || kLower.count(key) != 0) {
        if (!value.is_number()) {
          return error(ErrorCode::kInvalidArgument, json_pointer(place->where, key), expected_found("a number", value));
        }
        if (there == both.end() || (kHigher.count(key) != 0 ? *there < value : value < *there)) both[key] = value;
      } else if (key == "pattern" || key == "#patterns") {
        Json& list = both["#patterns"];
        if (list.is_null()) list = Json::array();
        if (value.is_array()) {
          list.insert(list.end(), value.begin(), value.end());
        } else {
          list.push_back(value);
        }
      } else if (key == "uniqueItems") {
        both[key] = value == true || (there != both.end() && *there == true);
      } else if (key == "format" || key == "multipleOf") {
        if (there != both.end() && *there != value) {
          if (key == "multipleOf" && value.is_number_integer() && there->is_number_integer() && value > 0 &&
              *there > 0 && value < 1'000'000 && *there < 1'000'000) {
            both[key] = std::lcm(value.get<int64_t>(), there->get<int64_t>());
          } else if (strict_) {
            return error(ErrorCode::kUnsupported, json_pointer(place->where, key),
                         "two different ones at once are not supported");
          }
        } else {
          both[key] = value;
        }
      }
    }
  }
  RETURN_IF_ERROR(merge_objects(a, b, both));
  made_.push_back(std::move(both));
  out = {&made_.back(), a.where};
  return true;
}

Result<void> SchemaResolver::merge_objects(const SchemaPlace& a, const SchemaPlace& b, Json& out) {
  const auto sub = [&](const SchemaPlace& place, const char* key) -> const Json* { return find(*place.json, key); };
  // Sub-schemas that stand in one or in both.
  for (const char* key : {"propertyNames", "items", "additionalItems"}) {
    std::vector<SchemaPlace> demands;
    for (const SchemaPlace* place : {&a, &b}) {
      const Json* value = sub(*place, key);
      if (value == nullptr) continue;
      if (value->is_array() || sub(*place, "prefixItems") != nullptr) {
        const bool alone = sub(a, "items") == nullptr || sub(b, "items") == nullptr;
        const bool tuples = (sub(a, "prefixItems") == nullptr) || (sub(b, "prefixItems") == nullptr);
        if (!alone || !tuples) {
          if (strict_)
            return error(ErrorCode::kUnsupported, json_pointer(place->where, key),
                         "two lists of items at once are not supported");
        }
      }
      if (value->is_array()) {
        out[key] = *value;
        for (size_t i = 0; i < value->size(); ++i) {
          out[key][i] = link(child(*place, fmt::format("/{}/{}", key, i), (*value)[i]));
        }
      } else {
        demands.push_back(child(*place, std::string("/") + key, *value));
      }
    }
    if (!demands.empty() && !out.contains(key)) out[key] = link(all_of(demands));
  }
  for (const SchemaPlace* place : {&a, &b}) {
    const Json* prefix = sub(*place, "prefixItems");
    if (prefix == nullptr || !prefix->is_array()) continue;
    if (out.contains("prefixItems")) {
      if (strict_)
        return error(ErrorCode::kUnsupported, place->where + "/prefixItems",
                     "two lists of items at once are not supported");
      continue;
    }
    Json links = Json::array();
    for (size_t i = 0; i < prefix->size(); ++i)
      links.push_back(link(child(*place, fmt::format("/prefixItems/{}", i), (*prefix)[i])));
    out["prefixItems"] = std::move(links);
  }

  std::vector<SchemaPlace> additional;
  for (const SchemaPlace* place : {&a, &b}) {
    const SchemaPlace& other = place == &a ? b : a;
    if (const Json* required = sub(*place, "required"); required != nullptr && required->is_array()) {
      Json& all = out["required"];
      if (all.is_null()) all = Json::array();
      for (const Json& name : *required) {
        if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(name);
      }
    }
    if (const Json* more = sub(*place, "additionalProperties"); more != nullptr) {
      additional.push_back(child(*place, "/additionalProperties", *more));
    }
    if (const Json* patterns = sub(*place, "patternProperties"); patterns != nullptr && patterns->is_object()) {
      const bool simple = sub(other, "properties") == nullptr && sub(other, "additionalProperties") == nullptr &&
                          sub(other, "patternProperties") == nullptr;
      if (!simple && strict_) {
        return error(ErrorCode::kUnsupported, place->where + "/patternProperties",
                     "not supported beside other properties in allOf");
      }
      Json& all = out["patternProperties"];
      if (all.is_null()) all = Json::object();
      for (const auto& [name, schema] : patterns->items()) {
        all[name] = link(child(*place, json_pointer("/patternProperties", name), schema));
      }
    }
    const Json* properties = sub(*place, "properties");
    if (properties == nullptr || !properties->is_object()) continue;
    const Json* theirs = sub(other, "properties");
    const Json* their_rest = sub(other, "additionalProperties");
    Json& all = out["properties"];
    if (all.is_null()) all = Json::object();
    for (const auto& [name, schema] : properties->items()) {
      RETURN_IF_ERROR(count_node(place->where));
      if (all.contains(name)) continue;  // in both: done with the first
      std::vector<SchemaPlace> demands{child(*place, json_pointer("/properties", name), schema)};
      if (theirs != nullptr && theirs->is_object() && theirs->contains(name)) {
        demands.push_back(child(other, json_pointer("/properties", name), (*theirs)[name]));
      } else if (their_rest != nullptr) {
        demands.push_back(child(other, "/additionalProperties", *their_rest));
      }
      all[name] = link(all_of(demands));
    }
  }
  if (!additional.empty()) out["additionalProperties"] = link(all_of(additional));
  return {};
}

}  // namespace lapidary
