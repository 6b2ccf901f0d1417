#include "grammar/leaf_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/utf8.h"
#include "grammar/number_range.h"
#include "grammar/regex.h"
#include "grammar/string_formats.h"

namespace lapidary {
namespace {

constexpr int kIndentMax = 64;

const Json* find(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

// Texts between an opening and a closing symbol; the closing one leads to the only accepting state.
Dfa between(const Dfa& texts, int quote) {
  const auto symbol = static_cast<uint16_t>(quote);
  const uint32_t end = texts.states() + 1;
  Dfa out;
  out.edges.push_back({symbol, symbol, 0, 1});
  const auto close_state = [&](bool accepting) {
    out.edge_begin.push_back(static_cast<uint32_t>(out.edges.size()));
    out.call_begin.push_back(0);
    out.accepting.push_back(accepting);
  };
  close_state(false);
  for (uint32_t s = 0; s < texts.states(); ++s) {
    bool closed = texts.accepting[s] == 0;
    for (uint32_t e = texts.edge_begin[s]; e < texts.edge_begin[s + 1]; ++e) {
      const Dfa::Edge& edge = texts.edges[e];
      if (!closed && edge.low > symbol) {
        out.edges.push_back({symbol, symbol, 0, end});
        closed = true;
      }
      out.edges.push_back({edge.low, edge.high, edge.flags, edge.to + 1});
    }
    if (!closed) out.edges.push_back({symbol, symbol, 0, end});
    close_state(false);
  }
  close_state(true);
  return out;
}

// Every JSON spelling of every character: UTF-8, short escapes, \uXXXX and pairs of surrogates.
void add_json_characters(Nfa& nfa, uint32_t from, uint32_t to, uint8_t flags) {
  add_code_points(nfa, from, to, CodePointSet({{0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x10ffff}}), Spelling::kRaw, flags);
  const auto hex = [&](uint32_t a, uint32_t b, std::string_view digits) {
    for (const char c : digits) nfa.edge(a, c, c, b);
  };
  constexpr std::string_view kAny = "0123456789abcdefABCDEF";
  const uint32_t escape = nfa.add();
  nfa.edge(from, '\\', '\\', escape, flags);
  for (const char c : std::string_view("\"\\/bfnrt")) nfa.edge(escape, c, c, to);
  const uint32_t u = nfa.add(), second = nfa.add(), third = nfa.add(), fourth = nfa.add();
  nfa.edge(escape, 'u', 'u', u);
  hex(u, second, "0123456789abcefABCEF");
  hex(second, third, kAny);
  hex(third, fourth, kAny);
  hex(fourth, to, kAny);
  const uint32_t d = nfa.add();
  hex(u, d, "dD");
  hex(d, third, "01234567");
  uint32_t high = nfa.add();
  hex(d, high, "89abAB");
  for (int i = 0; i < 2; ++i) {
    const uint32_t next = nfa.add();
    hex(high, next, kAny);
    high = next;
  }
  high = nfa.literal(high, "\\u");
  const uint32_t low = nfa.add(), low2 = nfa.add(), low3 = nfa.add(), low4 = nfa.add();
  hex(high, low, "dD");
  hex(low, low2, "cdefCDEF");
  hex(low2, low3, kAny);
  hex(low3, low4, kAny);
  nfa.empty(low4, fourth);
}

bool bare_key(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '$' || c == '-' ||
           c == '.' || c == '/';
  };
  if (name.empty() || !(plain(name.front()) && plain(name.back()))) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == ' '; });
}

}  // namespace

Result<std::optional<int64_t>> size_keyword(const SchemaPlace& plain, const char* key) {
  const Json* value = find(*plain.json, key);
  if (value == nullptr || value->is_null()) return std::optional<int64_t>();
  const double number = value->is_number() ? value->get<double>() : -1;
  if (number < 0 || number != std::floor(number)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("schema {}/{}: {}", plain.where, key, expected_found("a whole number >= 0", *value))};
  }
  return std::optional<int64_t>(static_cast<int64_t>(std::min(number, 1e9)));
}

Error LeafRules::error(const SchemaPlace& plain, std::string_view key, Error error) const {
  error.message =
      fmt::format("schema {}: {}", key.empty() ? plain.where : json_pointer(plain.where, key), error.message);
  return error;
}

uint32_t LeafRules::leaf(std::string key, Dfa automaton, int64_t count_min, int64_t count_max) {
  const uint32_t rule = builder_.declare(GrammarBuilder::Kind::kLeaf, key);
  builder_.define(rule, std::move(automaton), static_cast<int32_t>(count_min), static_cast<int32_t>(count_max));
  known_[std::move(key)] = rule;
  return rule;
}

Result<uint32_t> LeafRules::word(std::string_view text) {
  const std::string key = "word " + std::string(text);
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  Nfa nfa;
  nfa.accept(nfa.literal(0, text));
  ASSIGN_OR_RETURN(Dfa automaton, determinise(nfa, budget_));
  return leaf(key, std::move(automaton));
}

uint32_t LeafRules::whitespace() {
  const std::string key = "space";
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  // State 1: a space alone. State 2: after a line feed, counting the indentation.
  Dfa dfa;
  dfa.edges = {{'\n', '\n', 0, 2}, {' ', ' ', 0, 1}, {'\t', '\t', kCounts, 2}, {' ', ' ', kCounts, 2}};
  dfa.edge_begin = {0, 2, 2, 4};
  dfa.call_begin = {0, 0, 0, 0};
  dfa.accepting = {0, 1, 1};
  return leaf(key, std::move(dfa), 0, kIndentMax);
}

uint32_t LeafRules::skip_space(Nfa& nfa, uint32_t from) {
  const uint32_t to = nfa.add();
  nfa.empty(from, to);
  if (syntax_.whitespace) nfa.call(from, whitespace(), to);
  return to;
}

// set nullptr: any character in any spelling.
uint32_t LeafRules::counted_string(const CodePointSet* set, int64_t min, int64_t max) {
  std::string key = fmt::format("string {} {}", min, max);
  if (set != nullptr) {
    for (const CodePointRange& range : set->ranges()) key += fmt::format(" {:x}-{:x}", range.low, range.high);
  }
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  const bool counted = min > 0 || max >= 0;
  const uint8_t flags = counted ? kCounts : 0;
  Nfa nfa;
  const uint32_t inside = nfa.add(), end = nfa.add();
  nfa.edge(0, quote(), quote(), inside);
  if (set != nullptr) {
    add_code_points(nfa, inside, inside, *set, spelling(), flags);
  } else if (syntax_.json) {
    add_json_characters(nfa, inside, inside, flags);
  } else {
    add_code_points(nfa, inside, inside, CodePointSet::all(), Spelling::kRaw, flags);
  }
  nfa.edge(inside, quote(), quote(), end, counted ? kNeedsEnough : 0);
  nfa.accept(end);
  CompileBudget small;  // a handful of states: the caller's budget is for what callers make large
  const Result<Dfa> dfa = determinise(nfa, small);
  return leaf(std::move(key), reduce(dfa.value(), small), min, max);
}

Result<std::vector<std::string>> LeafRules::patterns_of(const SchemaPlace& plain, bool strict) const {
  std::vector<std::string> patterns;
  const auto add = [&](const Json& pattern) -> Result<void> {
    if (!pattern.is_string()) {
      return error(plain, "pattern", {ErrorCode::kInvalidArgument, expected_found("a string", pattern)});
    }
    const Result<void> possible = check_regex(pattern.get_ref<const std::string&>());
    if (!possible) {
      if (!strict && possible.error().code == ErrorCode::kUnsupported) return {};
      return error(plain, "pattern", possible.error());
    }
    patterns.push_back(pattern.get<std::string>());
    return {};
  };
  if (const Json* pattern = find(*plain.json, "pattern"); pattern != nullptr && !pattern->is_null()) {
    RETURN_IF_ERROR(add(*pattern));
  }
  if (const Json* list = find(*plain.json, "#patterns"); list != nullptr && list->is_array()) {
    for (const Json& pattern : *list) RETURN_IF_ERROR(add(pattern));
  }
  return patterns;
}

Result<Dfa> LeafRules::texts(const SchemaPlace& plain, Spelling spelling, bool strict) {
  std::optional<Dfa> all;
  const auto demand = [&](Dfa dfa) -> Result<void> {
    if (!all) {
      all = std::move(dfa);
      return {};
    }
    ASSIGN_OR_RETURN(Dfa both, intersect(*all, dfa));
    all = std::move(both);
    return {};
  };
  ASSIGN_OR_RETURN(const std::vector<std::string> patterns, patterns_of(plain, strict));
  for (const std::string& pattern : patterns) {
    Result<Dfa> dfa = compile_regex_dfa(pattern, RegexMatch::kAnywhere, spelling, budget_);
    if (!dfa) return error(plain, "pattern", dfa.error());
    RETURN_IF_ERROR(demand(std::move(dfa).value()));
  }
  if (const Json* format = find(*plain.json, "format"); format != nullptr && format->is_string()) {
    const std::string_view pattern = format_pattern(format->get_ref<const std::string&>());
    if (!pattern.empty()) {
      Result<Dfa> dfa = compile_regex_dfa(pattern, RegexMatch::kWhole, spelling, budget_);
      if (!dfa) return error(plain, "format", dfa.error());
      RETURN_IF_ERROR(demand(std::move(dfa).value()));
    }
  }
  ASSIGN_OR_RETURN(const std::optional<int64_t> min, size_keyword(plain, "minLength"));
  ASSIGN_OR_RETURN(const std::optional<int64_t> max, size_keyword(plain, "maxLength"));
  if (!all || min.value_or(0) > 0 || max) {
    // Length by length: beside a pattern only the states know which lengths can still be reached.
    Nfa nfa;
    const int64_t steps = max ? *max : min.value_or(0);
    if (steps * 24 > budget_.states) return error(plain, max ? "maxLength" : "minLength", budget_.exceeded());
    uint32_t state = 0;
    for (int64_t length = 0; length <= steps; ++length) {
      if (length >= min.value_or(0)) nfa.accept(state);
      if (length == steps) break;
      const uint32_t next = nfa.add();
      add_code_points(nfa, state, next, CodePointSet::all(), spelling);
      state = next;
    }
    if (!max) add_code_points(nfa, state, state, CodePointSet::all(), spelling);
    Result<Dfa> lengths = determinise(nfa, budget_);
    if (!lengths) return error(plain, max ? "maxLength" : "minLength", lengths.error());
    Result<void> added = demand(std::move(lengths).value());
    if (!added) return error(plain, max ? "maxLength" : "minLength", added.error());
  }
  return reduce(*all, budget_);
}

Result<std::optional<uint32_t>> LeafRules::string(const SchemaPlace& plain, bool strict) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> min, size_keyword(plain, "minLength"));
  ASSIGN_OR_RETURN(const std::optional<int64_t> max, size_keyword(plain, "maxLength"));
  if (max && *max < min.value_or(0)) return std::optional<uint32_t>();
  ASSIGN_OR_RETURN(const std::vector<std::string> patterns, patterns_of(plain, strict));
  const Json* format = find(*plain.json, "format");
  const bool formatted =
      format != nullptr && format->is_string() && !format_pattern(format->get_ref<const std::string&>()).empty();
  if (patterns.empty() && !formatted) return std::optional(counted_string(nullptr, min.value_or(0), max.value_or(-1)));
  if (patterns.size() == 1 && !formatted && !min && !max) {
    if (const std::optional<CountedSet> set = as_counted_set(patterns[0], RegexMatch::kAnywhere)) {
      return std::optional(counted_string(&set->set, set->min, set->max));
    }
  }
  std::string key =
      fmt::format("texts {} {} {}", min.value_or(0), max.value_or(-1), formatted ? dump_json(*format) : "");
  for (const std::string& pattern : patterns) key += fmt::format(" {}:{}", pattern.size(), pattern);
  if (const auto it = known_.find(key); it != known_.end()) return std::optional(it->second);
  ASSIGN_OR_RETURN(const Dfa inside, texts(plain, spelling(), strict));
  if (is_empty(inside)) return std::optional<uint32_t>();
  return std::optional(leaf(std::move(key), between(inside, quote())));
}

Result<std::optional<uint32_t>> LeafRules::number(const SchemaPlace& plain, bool integers, bool strict) {
  std::optional<NumberBound> low, high;
  for (const char* key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
    const Json* value = find(*plain.json, key);
    if (value == nullptr || value->is_null()) continue;
    const bool exclusive = key[0] == 'e', lower = std::string_view(key).ends_with("inimum");
    const std::optional<NumberBound> bound = number_bound(*value, !exclusive);
    if (!bound) return error(plain, key, {ErrorCode::kInvalidArgument, expected_found("a number", *value)});
    std::optional<NumberBound>& side = lower ? low : high;
    const int order = side ? compare(*bound, *side) : 0;
    if (!side || (lower ? order > 0 : order < 0)) {
      side = bound;
    } else if (order == 0) {
      side->inclusive = side->inclusive && bound->inclusive;
    }
  }
  int64_t divisor = 1;
  if (const Json* multiple = find(*plain.json, "multipleOf"); multiple != nullptr && !multiple->is_null()) {
    const double value = multiple->is_number() ? multiple->get<double>() : 0;
    if (!(value > 0))
      return error(plain, "multipleOf", {ErrorCode::kInvalidArgument, expected_found("a number > 0", *multiple)});
    if (value == std::floor(value) && value <= static_cast<double>(kDivisorMax)) {
      divisor = static_cast<int64_t>(value);
      integers = true;
    } else if (strict) {
      return error(plain, "multipleOf",
                   {ErrorCode::kUnsupported, fmt::format("only whole numbers up to {} are supported", kDivisorMax)});
    }
  }
  std::string key = fmt::format("number {} {}", integers, divisor);
  for (const auto* bound : {&low, &high}) {
    key += *bound ? fmt::format(" {}{}.{} {}", (*bound)->negative ? "-" : "", (*bound)->whole, (*bound)->fraction,
                                (*bound)->inclusive)
                  : " none";
  }
  if (const auto it = known_.find(key); it != known_.end()) return std::optional(it->second);
  ASSIGN_OR_RETURN(Dfa dfa, determinise(number_range(low, high, integers), budget_));
  if (divisor > 1) {
    Result<Dfa> both = intersect(dfa, multiples_of(divisor));
    if (!both) return error(plain, "multipleOf", both.error());
    dfa = std::move(both).value();
  }
  dfa = reduce(dfa, budget_);
  if (is_empty(dfa)) return std::optional<uint32_t>();
  return std::optional(leaf(std::move(key), std::move(dfa)));
}

Result<bool> LeafRules::satisfies(const Json& value, const SchemaPlace& plain, bool strict) {
  ASSIGN_OR_RETURN(const uint8_t kinds, SchemaResolver::kinds(plain));
  if (value.is_null()) return (kinds & kNullKind) != 0;
  if (value.is_boolean()) return (kinds & kBooleanKind) != 0;
  if (value.is_string()) {
    if ((kinds & kStringKind) == 0) return false;
    const bool constrained = std::any_of(plain.json->items().begin(), plain.json->items().end(), [](const auto& item) {
      return item.key() == "pattern" || item.key() == "#patterns" || item.key() == "format" ||
             item.key() == "minLength" || item.key() == "maxLength";
    });
    if (!constrained) return true;
    if (demanded_of_ != plain.json) {  // the next constant comes from the same schema
      ASSIGN_OR_RETURN(demanded_, texts(plain, Spelling::kRaw, strict));
      demanded_of_ = plain.json;
    }
    return demanded_.matches(value.get_ref<const std::string&>());
  }
  if (value.is_structured()) {
    if ((kinds & (value.is_array() ? kArrayKind : kObjectKind)) == 0) return false;
    for (const char* key : {"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
                            "items", "prefixItems", "minItems", "maxItems", "minProperties", "maxProperties"}) {
      const bool of_arrays = std::string_view(key).find("tems") != std::string_view::npos;
      if (of_arrays == value.is_array() && plain.json->contains(key) && strict) {
        return error(plain, key,
                     {ErrorCode::kUnsupported, "not supported beside constants that are objects or arrays"});
      }
    }
    return true;
  }
  const std::optional<NumberBound> number = number_bound(value, true);
  if (!number) return false;
  const bool integer = number->fraction.empty();
  if ((kinds & (integer ? kIntegerKind : kFractionKind)) == 0) return false;
  for (const char* key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
    const Json* bound = find(*plain.json, key);
    if (bound == nullptr || bound->is_null()) continue;
    const std::optional<NumberBound> limit = number_bound(*bound, true);
    if (!limit) return error(plain, key, {ErrorCode::kInvalidArgument, expected_found("a number", *bound)});
    const int order = std::string_view(key).ends_with("inimum") ? compare(*number, *limit) : compare(*limit, *number);
    if (order < 0 || (order == 0 && key[0] == 'e')) return false;
  }
  if (const Json* multiple = find(*plain.json, "multipleOf"); multiple != nullptr && multiple->is_number()) {
    const double divisor = multiple->get<double>();
    if (divisor > 0 && std::fmod(value.is_number() ? value.get<double>() : 0, divisor) != 0) return false;
  }
  return true;
}

uint32_t LeafRules::declared_key(Nfa& nfa, uint32_t from, const std::string& name) {
  if (syntax_.json) return nfa.literal(from, "\"" + spelled(name, Spelling::kJson) + "\"");
  if (bare_key(name)) return nfa.literal(from, name);
  uint32_t inside = nfa.add(), end = nfa.add();
  nfa.edge(from, quote(), quote(), inside);
  inside = nfa.literal(inside, name);
  nfa.edge(inside, quote(), quote(), end);
  return end;
}

uint32_t LeafRules::write_value(Nfa& nfa, uint32_t from, const Json& value) {
  if (value.is_string()) {
    const uint32_t inside = nfa.add(), end = nfa.add();
    nfa.edge(from, quote(), quote(), inside);
    const uint32_t last = nfa.literal(inside, spelled(utf8_repair(value.get_ref<const std::string&>()), spelling()));
    nfa.edge(last, quote(), quote(), end);
    return end;
  }
  if (!value.is_structured()) return nfa.literal(from, dump_json(value));
  uint32_t state = skip_space(nfa, nfa.literal(from, value.is_array() ? "[" : "{"));
  bool first = true;
  for (const auto& [key, item] : value.items()) {
    if (!first) state = skip_space(nfa, nfa.literal(skip_space(nfa, state), ","));
    first = false;
    if (value.is_object()) {
      state = declared_key(nfa, state, utf8_repair(key));
      state = skip_space(nfa, nfa.literal(state, ":"));
    }
    state = write_value(nfa, state, item);
  }
  if (!first) state = skip_space(nfa, state);
  return nfa.literal(state, value.is_array() ? "]" : "}");
}

Result<std::optional<uint32_t>> LeafRules::constants(const SchemaPlace& plain, bool strict) {
  const Json* choices = find(*plain.json, "enum");
  const Json* constant = find(*plain.json, "const");
  if (choices != nullptr && !choices->is_array()) {
    return error(plain, "enum", {ErrorCode::kInvalidArgument, expected_found("a list", *choices)});
  }
  Nfa nfa;
  const uint32_t end = nfa.add();
  bool any = false;
  const auto add = [&](const Json& value) -> Result<void> {
    ASSIGN_OR_RETURN(const bool good, satisfies(value, plain, strict));
    if (!good) return {};
    nfa.empty(write_value(nfa, 0, value), end);
    any = true;
    if (nfa.states > static_cast<uint32_t>(budget_.states)) {
      return error(plain, choices != nullptr ? "enum" : "const", budget_.exceeded());
    }
    return {};
  };
  if (constant != nullptr) {
    if (choices == nullptr || std::find(choices->begin(), choices->end(), *constant) != choices->end()) {
      RETURN_IF_ERROR(add(*constant));
    }
  } else {
    for (const Json& value : *choices) RETURN_IF_ERROR(add(value));
  }
  if (!any) return std::optional<uint32_t>();
  nfa.accept(end);
  Result<Dfa> dfa = determinise(nfa, budget_);
  if (!dfa) return error(plain, choices != nullptr ? "enum" : "const", dfa.error());
  const uint32_t rule = builder_.declare(GrammarBuilder::Kind::kLeaf, plain.where);
  builder_.define(rule, reduce(*dfa, budget_));
  return std::optional(rule);
}

Result<Dfa> LeafRules::intersect(const Dfa& a, const Dfa& b) {
  ASSIGN_OR_RETURN(const Dfa both, combine(
                                       a, b, [](bool in_a, bool in_b) { return in_a && in_b; }, budget_));
  return reduce(both, budget_);
}

Result<Dfa> LeafRules::subtract(const Dfa& a, const Dfa& b) {
  ASSIGN_OR_RETURN(const Dfa rest, combine(
                                       a, b, [](bool in_a, bool in_b) { return in_a && !in_b; }, budget_));
  return reduce(rest, budget_);
}

Result<Dfa> LeafRules::key_pattern(const std::string& pattern, const std::string& where) {
  Result<Dfa> dfa = compile_regex_dfa(pattern, RegexMatch::kAnywhere, spelling(), budget_);
  if (!dfa) return Error{dfa.error().code, fmt::format("schema {}: {}", where, dfa.error().message)};
  return dfa;
}

Result<Dfa> LeafRules::key_texts(const SchemaPlace* names, const std::vector<std::string>& declared, bool strict) {
  Nfa any;
  if (syntax_.json) {
    any.accept(0);
    add_code_points(any, 0, 0, CodePointSet::all(), Spelling::kJson);
  } else {
    const uint32_t inside = any.add();
    any.accept(inside);
    const CodePointSet plain({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {'$', '$'}, {'-', '-'}});
    add_code_points(any, 0, inside, plain, Spelling::kRaw);
    add_code_points(any, inside, inside, plain.with(CodePointSet({{'.', '/'}})), Spelling::kRaw);
  }
  ASSIGN_OR_RETURN(Dfa all, determinise(any, budget_));
  if (names != nullptr) {
    ASSIGN_OR_RETURN(const Dfa allowed, texts(*names, spelling(), strict));
    ASSIGN_OR_RETURN(all, intersect(all, allowed));
  }
  if (!declared.empty()) {
    Nfa known;
    const uint32_t end = known.add();
    for (const std::string& name : declared) known.empty(known.literal(0, spelled(name, spelling())), end);
    known.accept(end);
    ASSIGN_OR_RETURN(const Dfa taken, determinise(known, budget_));
    ASSIGN_OR_RETURN(all, subtract(all, taken));
  }
  return reduce(all, budget_);
}

uint32_t LeafRules::key(const Dfa& texts) {
  const uint32_t rule = builder_.declare(GrammarBuilder::Kind::kLeaf, "key");
  builder_.define(rule, syntax_.json ? between(texts, '"') : texts);
  return rule;
}

}  // namespace lapidary
