#include "grammar/schema_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "grammar/code_points.h"

namespace lapidary {
namespace {

const Json* find(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string lower_ascii(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return text;
}

}  // namespace

Error SchemaRules::error(ErrorCode code, const std::string& where, std::string_view what) const {
  return {code, fmt::format("schema {}: {}", where, what)};
}

void SchemaRules::call_all(Nfa& nfa, uint32_t from, const std::vector<uint32_t>& rules, uint32_t to) {
  for (const uint32_t rule : rules) nfa.call(from, rule, to);
}

Result<std::vector<uint32_t>> SchemaRules::values(const SchemaPlace& schema) {
  ASSIGN_OR_RETURN(const std::vector<SchemaPlace> all, resolver_.alternatives(schema));
  std::vector<uint32_t> rules;
  for (const SchemaPlace& plain : all) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> found, plain_values(plain, kAllKinds));
    rules.insert(rules.end(), found.begin(), found.end());
  }
  std::sort(rules.begin(), rules.end());
  rules.erase(std::unique(rules.begin(), rules.end()), rules.end());
  if (!budget_.spend(static_cast<int64_t>(rules.size())))
    return error(ErrorCode::kExhausted, schema.where, budget_.exceeded().message);
  return rules;
}

Result<std::vector<uint32_t>> SchemaRules::objects(const SchemaPlace& schema) {
  ASSIGN_OR_RETURN(const std::vector<SchemaPlace> all, resolver_.alternatives(schema));
  std::vector<uint32_t> rules;
  for (const SchemaPlace& plain : all) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> found, plain_values(plain, kObjectKind));
    rules.insert(rules.end(), found.begin(), found.end());
  }
  return rules;
}

Result<std::vector<uint32_t>> SchemaRules::plain_values(const SchemaPlace& plain, uint8_t among) {
  const std::pair key(plain.json, among);
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  if (builder_.rules() > kLimits.grammar_rules_max) {
    return error(ErrorCode::kExhausted, plain.where, fmt::format("more than {} rules", kLimits.grammar_rules_max));
  }
  ASSIGN_OR_RETURN(uint8_t kinds, SchemaResolver::kinds(plain));
  kinds &= among;
  std::vector<uint32_t> rules;
  const auto add = [&](const std::optional<uint32_t>& rule) {
    if (rule) rules.push_back(*rule);
  };
  if (find(*plain.json, "enum") != nullptr || plain.json->contains("const")) {
    ASSIGN_OR_RETURN(const std::optional<uint32_t> rule, leaves_.constants(plain, resolver_.strict()));
    add(rule);
    return known_[key] = rules;
  }
  for (const auto& [kind, text] : {std::pair(kNullKind, "null"), {kBooleanKind, "true"}, {kBooleanKind, "false"}}) {
    if ((kinds & kind) == 0) continue;
    ASSIGN_OR_RETURN(const uint32_t rule, leaves_.word(text));
    rules.push_back(rule);
  }
  if ((kinds & kStringKind) != 0) {
    ASSIGN_OR_RETURN(const std::optional<uint32_t> rule, leaves_.string(plain, resolver_.strict()));
    add(rule);
  }
  if ((kinds & (kIntegerKind | kFractionKind)) != 0) {
    ASSIGN_OR_RETURN(const std::optional<uint32_t> rule,
                     leaves_.number(plain, (kinds & kFractionKind) == 0, resolver_.strict()));
    add(rule);
  }
  for (const auto& [kind, object] : {std::pair(kArrayKind, false), {kObjectKind, true}}) {
    if ((kinds & kind) == 0) continue;
    rules.push_back(builder_.declare(GrammarBuilder::Kind::kContainer, plain.where));
    todo_.push_back({rules.back(), object, plain});
  }
  return known_[key] = rules;
}

Result<void> SchemaRules::finish() {
  for (; done_ < todo_.size(); ++done_) {
    const Container container = todo_[done_];
    int64_t min = 0, max = -1;
    if (!container.object) {
      // write_array counts the items behind the prefix; what it counts is bounded here.
      const Json* prefix = find(*container.plain.json, "prefixItems");
      if (prefix == nullptr) prefix = find(*container.plain.json, "items");
      const int64_t before =
          prefix != nullptr && prefix->is_array() ? std::max<int64_t>(static_cast<int64_t>(prefix->size()), 1) : 1;
      ASSIGN_OR_RETURN(const std::optional<int64_t> low, size_keyword(container.plain, "minItems"));
      ASSIGN_OR_RETURN(const std::optional<int64_t> high, size_keyword(container.plain, "maxItems"));
      min = std::max<int64_t>(low.value_or(0) - before, 0);
      if (high) max = std::max<int64_t>(*high - before, 0);
    }
    ASSIGN_OR_RETURN(const Nfa nfa, container.object ? write_object(container.plain) : write_array(container.plain));
    Result<Dfa> dfa = determinise(nfa, budget_);
    if (!dfa) return error(dfa.error().code, container.plain.where, dfa.error().message);
    builder_.define(container.rule, reduce(*dfa, budget_), static_cast<int32_t>(min), static_cast<int32_t>(max));
  }
  return {};
}

// [ first items, each of its own schema, then any number of the rest's ]. A comma before an item of the rest counts.
Result<Nfa> SchemaRules::write_array(const SchemaPlace& plain) {
  const Json* items = find(*plain.json, "items");
  const Json* prefix = find(*plain.json, "prefixItems");
  const char* prefix_key = "prefixItems";
  const char* rest_key = "items";
  if (items != nullptr && items->is_array()) {  // before 2020-12
    prefix = items;
    prefix_key = "items";
    rest_key = "additionalItems";
    items = find(*plain.json, "additionalItems");
  }
  if (prefix != nullptr && !prefix->is_array()) {
    return error(ErrorCode::kInvalidArgument, plain.where + "/" + prefix_key,
                 expected_found("a list of schemas", *prefix));
  }
  ASSIGN_OR_RETURN(const std::optional<int64_t> min_items, size_keyword(plain, "minItems"));
  ASSIGN_OR_RETURN(const std::optional<int64_t> max_items, size_keyword(plain, "maxItems"));
  const int64_t min = min_items.value_or(0), max = max_items.value_or(INT64_MAX);
  if (const Json* unique = find(*plain.json, "uniqueItems");
      unique != nullptr && *unique == true && resolver_.strict() && max > 1) {
    return error(ErrorCode::kUnsupported, plain.where + "/uniqueItems", "not supported");
  }
  Nfa nfa;
  if (min > max) return nfa;
  const uint32_t begin = leaves_.skip_space(nfa, nfa.literal(0, "["));
  const uint32_t end = nfa.add();
  nfa.accept(end);
  if (min == 0) nfa.edge(begin, ']', ']', end);

  // After item i of the prefix: a closing bracket, or a comma and the next one.
  uint32_t before = begin, after = begin;
  const size_t first = prefix != nullptr ? prefix->size() : 0;
  if (first > static_cast<size_t>(kLimits.schema_nodes_max))
    return error(ErrorCode::kExhausted, plain.where, "too many items");
  bool open = true;
  for (size_t i = 0; i < first && open; ++i) {
    if (static_cast<int64_t>(i) >= max) return nfa;
    ASSIGN_OR_RETURN(const std::vector<uint32_t> rules,
                     values(resolver_.child(plain, fmt::format("/{}/{}", prefix_key, i), (*prefix)[i])));
    if (i > 0) before = leaves_.skip_space(nfa, nfa.literal(after, ","));
    const uint32_t item_end = nfa.add();
    call_all(nfa, before, rules, item_end);
    open = !rules.empty();
    after = leaves_.skip_space(nfa, item_end);
    if (static_cast<int64_t>(i) + 1 >= min) nfa.edge(after, ']', ']', end);
  }
  if (!open || static_cast<int64_t>(first) >= max) return nfa;

  std::vector<uint32_t> rest;
  if (items == nullptr) {
    ASSIGN_OR_RETURN(rest, values({&SchemaResolver::anything(), plain.where}));
  } else {
    ASSIGN_OR_RETURN(rest, values(resolver_.child(plain, std::string("/") + rest_key, *items)));
  }
  if (rest.empty()) return nfa;
  const uint32_t next = nfa.add(), rest_end = nfa.add();
  const uint32_t item = leaves_.skip_space(nfa, next);
  call_all(nfa, item, rest, rest_end);
  const uint32_t rest_after = leaves_.skip_space(nfa, rest_end);
  nfa.edge(rest_after, ',', ',', next, kCounts);
  nfa.edge(rest_after, ']', ']', end, kNeedsEnough);
  if (first == 0) {
    call_all(nfa, begin, rest, rest_end);
  } else {
    nfa.edge(after, ',', ',', next, kCounts);
  }
  return nfa;
}

Result<SchemaRules::ObjectShape> SchemaRules::shape_of(const SchemaPlace& plain) {
  const Json* properties = find(*plain.json, "properties");
  const Json* required = find(*plain.json, "required");
  const Json* patterns = find(*plain.json, "patternProperties");
  const Json* names = find(*plain.json, "propertyNames");
  if (properties != nullptr && !properties->is_object()) {
    return error(ErrorCode::kInvalidArgument, plain.where + "/properties", expected_found("an object", *properties));
  }
  if (patterns != nullptr && !patterns->is_object()) {
    return error(ErrorCode::kInvalidArgument, plain.where + "/patternProperties",
                 expected_found("an object", *patterns));
  }
  std::vector<std::string> needed;
  if (required != nullptr) {
    if (!required->is_array())
      return error(ErrorCode::kInvalidArgument, plain.where + "/required",
                   expected_found("a list of names", *required));
    for (const Json& name : *required) {
      if (!name.is_string())
        return error(ErrorCode::kInvalidArgument, plain.where + "/required", expected_found("a list of names", name));
      needed.push_back(name.get<std::string>());
    }
    std::sort(needed.begin(), needed.end());
    needed.erase(std::unique(needed.begin(), needed.end()), needed.end());
  }
  // Names in the order in which they are written: the schema's, then those that are only required.
  std::vector<std::string> declared;
  if (properties != nullptr) {
    for (const auto& [name, schema] : properties->items()) declared.push_back(name);
  }
  const size_t described = declared.size();
  for (const std::string& name : needed) {
    if (properties == nullptr || !properties->contains(name)) declared.push_back(name);
  }

  ObjectShape shape;
  const Json* additional = find(*plain.json, "additionalProperties");
  for (size_t i = 0; i < declared.size(); ++i) {
    const std::string& name = declared[i];
    std::vector<SchemaPlace> demands;
    if (i < described) {
      demands.push_back(resolver_.child(plain, json_pointer("/properties", name), (*properties)[name]));
    }
    if (patterns != nullptr) {
      for (const auto& [pattern, schema] : patterns->items()) {
        const std::string where = json_pointer(plain.where + "/patternProperties", pattern);
        ASSIGN_OR_RETURN(const Dfa keys, leaves_.key_pattern(pattern, where));
        if (!keys.matches(spelled(name, syntax_.json ? Spelling::kJson : Spelling::kRaw))) continue;
        demands.push_back(resolver_.child(plain, json_pointer("/patternProperties", pattern), schema));
      }
    }
    if (demands.empty() && additional != nullptr) {
      demands.push_back(resolver_.child(plain, "/additionalProperties", *additional));
    }
    if (demands.empty()) demands.push_back({&SchemaResolver::anything(), plain.where});
    Property property{name, {}, std::binary_search(needed.begin(), needed.end(), name)};
    ASSIGN_OR_RETURN(property.values, values(resolver_.all_of(demands)));
    shape.properties.push_back(std::move(property));
  }
  if (names != nullptr) {
    // Names are strings: each alternative of the schema that allows strings.
    ASSIGN_OR_RETURN(const std::vector<SchemaPlace> all,
                     resolver_.alternatives(resolver_.child(plain, "/propertyNames", *names)));
    if (all.size() != 1 || find(*all[0].json, "enum") != nullptr || all[0].json->contains("const")) {
      if (resolver_.strict()) {
        return error(ErrorCode::kUnsupported, plain.where + "/propertyNames",
                     "only pattern, format, minLength and maxLength are supported");
      }
    } else {
      ASSIGN_OR_RETURN(const Dfa texts, leaves_.key_texts(&all[0], {}, resolver_.strict()));
      for (Property& property : shape.properties) {
        if (!texts.matches(spelled(property.name, syntax_.json ? Spelling::kJson : Spelling::kRaw)))
          property.values.clear();
      }
    }
  }
  for (const Property& property : shape.properties) {
    shape.impossible = shape.impossible || (property.required && property.values.empty());
  }
  ASSIGN_OR_RETURN(const std::optional<int64_t> min, size_keyword(plain, "minProperties"));
  ASSIGN_OR_RETURN(const std::optional<int64_t> max, size_keyword(plain, "maxProperties"));
  shape.min = min.value_or(0);
  shape.max = max.value_or(-1);
  RETURN_IF_ERROR(add_extras(plain, declared, patterns, shape));
  std::erase_if(shape.properties, [](const Property& property) { return property.values.empty(); });
  if (syntax_.sorted_keys) {
    std::stable_sort(shape.properties.begin(), shape.properties.end(),
                     [](const Property& a, const Property& b) { return lower_ascii(a.name) < lower_ascii(b.name); });
  }
  return shape;
}

Result<void> SchemaRules::add_extras(const SchemaPlace& plain, const std::vector<std::string>& declared,
                                     const Json* patterns, ObjectShape& shape) {
  const Json* names = find(*plain.json, "propertyNames");
  std::optional<SchemaPlace> name_schema;
  if (names != nullptr) {
    ASSIGN_OR_RETURN(const std::vector<SchemaPlace> all,
                     resolver_.alternatives(resolver_.child(plain, "/propertyNames", *names)));
    if (all.empty()) return {};
    if (all.size() == 1 && find(*all[0].json, "enum") == nullptr && !all[0].json->contains("const"))
      name_schema = all[0];
  }
  std::optional<Dfa> rest;  // keys that are neither declared nor matched by a pattern
  const auto undeclared = [&]() -> Result<void> {
    if (rest) return {};
    Result<Dfa> texts = leaves_.key_texts(name_schema ? &*name_schema : nullptr, declared, resolver_.strict());
    if (!texts) return texts.error();
    rest = std::move(texts).value();
    return {};
  };
  if (patterns != nullptr) {
    std::vector<Dfa> taken;
    for (const auto& [pattern, schema] : patterns->items()) {
      const std::string where = json_pointer(plain.where + "/patternProperties", pattern);
      RETURN_IF_ERROR(undeclared());
      ASSIGN_OR_RETURN(const Dfa matching, leaves_.key_pattern(pattern, where));
      ASSIGN_OR_RETURN(const Dfa keys, leaves_.intersect(*rest, matching));
      for (const Dfa& other : taken) {
        ASSIGN_OR_RETURN(const Dfa both, leaves_.intersect(keys, other));
        if (!is_empty(both) && resolver_.strict()) {
          return error(ErrorCode::kUnsupported, where, "not supported: another pattern matches the same keys");
        }
      }
      taken.push_back(keys);
      ASSIGN_OR_RETURN(const std::vector<uint32_t> rules,
                       values(resolver_.child(plain, json_pointer("/patternProperties", pattern), schema)));
      if (!is_empty(keys) && !rules.empty()) shape.extras.push_back({leaves_.key(keys), rules});
    }
    for (const Dfa& keys : taken) {
      ASSIGN_OR_RETURN(rest, leaves_.subtract(*rest, keys));
    }
  }
  const Json* additional = find(*plain.json, "additionalProperties");
  const bool closed = additional == nullptr && syntax_.closed_objects && (!declared.empty() || patterns != nullptr);
  if (closed || (additional != nullptr && *additional == false)) return {};
  std::vector<uint32_t> rules;
  if (additional == nullptr) {
    ASSIGN_OR_RETURN(rules, values({&SchemaResolver::anything(), plain.where}));
  } else {
    ASSIGN_OR_RETURN(rules, values(resolver_.child(plain, "/additionalProperties", *additional)));
  }
  if (rules.empty()) return {};
  RETURN_IF_ERROR(undeclared());
  if (!is_empty(*rest)) shape.extras.push_back({leaves_.key(*rest), rules});
  return {};
}

// { declared properties in order, optional ones left out at will, then other keys }. States say which property may come
// next, how many declared ones are written (only where the schema counts them) and how many others.
Result<Nfa> SchemaRules::write_object(const SchemaPlace& plain) {
  ASSIGN_OR_RETURN(const ObjectShape shape, shape_of(plain));
  Nfa nfa;
  if (shape.impossible) return nfa;
  const bool counts = shape.min > 0 || shape.max >= 0;
  const auto n = static_cast<int64_t>(shape.properties.size());
  const int64_t most = shape.max >= 0 ? shape.max : INT64_MAX;
  // Other keys could be equal, so one of them is all that is certain towards minProperties.
  const int64_t others_max = shape.extras.empty() ? 0 : shape.max >= 0 ? std::max<int64_t>(shape.max, 1) : 1;
  const int64_t cells = (n + 1) * (counts ? n + 1 : 1) + (counts ? (n + 1) * (others_max + 1) : 0);
  if (cells * 8 > kLimits.grammar_states_max) {
    return error(ErrorCode::kExhausted, plain.where, "too many properties to count");
  }
  if (counts && shape.min > n + (shape.extras.empty() ? 0 : 1) && !shape.extras.empty() && resolver_.strict()) {
    return error(ErrorCode::kUnsupported, plain.where + "/minProperties",
                 "not supported beyond the declared properties and one more");
  }
  const uint32_t begin = leaves_.skip_space(nfa, nfa.literal(0, "{"));
  const uint32_t end = nfa.add();
  nfa.accept(end);

  // key(i, d, o): a key comes, of property i or a later one. value(i, d, o): behind a value, property i is next.
  std::map<std::tuple<int64_t, int64_t, int64_t>, uint32_t> keys, ends;
  const auto state_of = [&](auto& states, int64_t i, int64_t d, int64_t o) {
    const auto [it, added] = states.try_emplace(std::tuple(i, counts ? d : 0, counts ? o : 0), 0);
    if (added) it->second = nfa.add();
    return it->second;
  };
  int64_t last_required = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (shape.properties[static_cast<size_t>(i)].required) last_required = i;
  }
  const auto can_close = [&](int64_t i, int64_t d, int64_t o) {
    return i > last_required && d + std::min<int64_t>(o, 1) >= shape.min && (!counts || d + o <= most);
  };
  if (can_close(0, 0, 0)) nfa.edge(begin, '}', '}', end);
  nfa.empty(begin, state_of(keys, 0, 0, 0));
  const auto separator = [&](int64_t i, int64_t d, int64_t o) {
    const uint32_t after = leaves_.skip_space(nfa, state_of(ends, i, d, o));
    if (can_close(i, d, o)) nfa.edge(after, '}', '}', end);
    if (i == n && shape.extras.empty()) return;
    if (counts && d + o >= most) return;
    nfa.empty(leaves_.skip_space(nfa, nfa.literal(after, ",")), state_of(keys, i, d, o));
  };
  for (int64_t i = 0; i < n; ++i) {
    const Property& property = shape.properties[static_cast<size_t>(i)];
    for (int64_t d = 0; d <= (counts ? i : 0); ++d) {
      const uint32_t key = state_of(keys, i, d, 0);
      if (!property.required) nfa.empty(key, state_of(keys, i + 1, d, 0));
      if (counts && d >= most) continue;
      const uint32_t colon = leaves_.declared_key(nfa, key, property.name);
      const uint32_t value = leaves_.skip_space(nfa, nfa.literal(colon, ":"));
      call_all(nfa, value, property.values, state_of(ends, i + 1, d + 1, 0));
      if (!budget_.spend(16)) return error(ErrorCode::kExhausted, plain.where, budget_.exceeded().message);
    }
    for (int64_t d = 0; d <= (counts ? i + 1 : 0); ++d) separator(i + 1, d, 0);
  }
  for (int64_t d = 0; d <= (counts ? n : 0); ++d) {
    for (int64_t o = 0; o <= (counts ? others_max : 0); ++o) {
      if (counts && d + o >= most) break;
      const uint32_t key = state_of(keys, n, d, o);
      // Without a bound above, more than others_max are all the same.
      const int64_t next = counts && (shape.max >= 0 || o < others_max) ? o + 1 : o;
      for (const Extra& extra : shape.extras) {
        const uint32_t colon = nfa.add();
        nfa.call(key, extra.key, colon);
        const uint32_t value = leaves_.skip_space(nfa, nfa.literal(colon, ":"));
        call_all(nfa, value, extra.values, state_of(ends, n, d, next));
      }
    }
  }
  // Behind other keys; without counting that is also behind the last declared one, which was written above.
  if (!shape.extras.empty() && !counts && n == 0) separator(0, 0, 1);
  for (int64_t d = 0; counts && d <= n; ++d) {
    for (int64_t o = 1; o <= others_max; ++o) separator(n, d, o);
  }
  return nfa;
}

}  // namespace lapidary
