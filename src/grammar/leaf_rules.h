// Rules of values that hold no other values: strings, numbers, constants, keys of objects, white space.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "grammar/code_points.h"
#include "grammar/dfa.h"
#include "grammar/grammar_builder.h"
#include "grammar/schema_resolver.h"

namespace lapidary {

// How values are written down.
struct ValueSyntax {
  bool json = true;             // else Gemma's tool calls: strings between two markers, unescaped; bare keys
  bool whitespace = true;       // see LeafRules::whitespace
  bool sorted_keys = false;     // properties in alphabetical order, not in the schema's
  bool closed_objects = false;  // additionalProperties is false where properties are declared and it is absent
};

// Looks at a keyword that holds a size. Errors: kInvalidArgument when it is no whole number >= 0.
Result<std::optional<int64_t>> size_keyword(const SchemaPlace& plain, const char* key);

class LeafRules {
 public:
  LeafRules(GrammarBuilder& builder, CompileBudget& budget, const ValueSyntax& syntax)
      : builder_(builder), budget_(budget), syntax_(syntax) {}

  // Each returns nothing when no value satisfies the schema. Errors name the keyword.
  Result<std::optional<uint32_t>> string(const SchemaPlace& plain, bool strict);
  Result<std::optional<uint32_t>> number(const SchemaPlace& plain, bool integers, bool strict);
  // One of the values, which a schema's enum and const list, as far as they satisfy its other keywords.
  Result<std::optional<uint32_t>> constants(const SchemaPlace& plain, bool strict);
  Result<uint32_t> word(std::string_view text);

  // One space, or a line feed and up to 64 spaces and tabs: what json.dumps and pretty-printers write, and bounded.
  uint32_t whitespace();
  // From `from` on, any white space that the syntax allows, to a new state.
  uint32_t skip_space(Nfa& nfa, uint32_t from);

  // The texts of keys (without quotes): all of `names` when given (a schema of strings), less the declared ones.
  Result<Dfa> key_texts(const SchemaPlace* names, const std::vector<std::string>& declared, bool strict);
  // Keys that match (or do not) a pattern of patternProperties.
  Result<Dfa> key_pattern(const std::string& pattern, const std::string& where);
  Result<Dfa> intersect(const Dfa& a, const Dfa& b);
  Result<Dfa> subtract(const Dfa& a, const Dfa& b);
  // The rule of a key up to its value: quotes and all, without the colon.
  uint32_t key(const Dfa& texts);
  // A declared key: the symbols before the colon.
  uint32_t declared_key(Nfa& nfa, uint32_t from, const std::string& name);

 private:
  uint32_t leaf(std::string key, Dfa automaton, int64_t count_min = 0, int64_t count_max = -1);
  Spelling spelling() const { return syntax_.json ? Spelling::kJson : Spelling::kRaw; }
  int quote() { return syntax_.json ? '"' : builder_.marker("<|\"|>"); }
  uint32_t counted_string(const CodePointSet* set, int64_t min, int64_t max);
  // What a schema of strings demands, as texts without quotes. spelling as given.
  Result<Dfa> texts(const SchemaPlace& plain, Spelling spelling, bool strict);
  Result<std::vector<std::string>> patterns_of(const SchemaPlace& plain, bool strict) const;
  Result<bool> satisfies(const Json& value, const SchemaPlace& plain, bool strict);
  uint32_t write_value(Nfa& nfa, uint32_t from, const Json& value);
  Error error(const SchemaPlace& plain, std::string_view key, Error error) const;

  GrammarBuilder& builder_;
  CompileBudget& budget_;
  ValueSyntax syntax_;
  std::map<std::string, uint32_t> known_;  // leaves by what they are
  const Json* demanded_of_ = nullptr;      // the schema whose demands on strings demanded_ is
  Dfa demanded_;
};

}  // namespace lapidary
