// Schemas to rules: a rule for every object and array that a schema speaks of, calling the rules of what they hold.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/grammar_builder.h"
#include "grammar/leaf_rules.h"
#include "grammar/schema_resolver.h"

namespace lapidary {

class SchemaRules {
 public:
  // Keeps references: they outlive this.
  SchemaRules(GrammarBuilder& builder, CompileBudget& budget, SchemaResolver& resolver, const ValueSyntax& syntax)
      : builder_(builder), budget_(budget), resolver_(resolver), syntax_(syntax), leaves_(builder, budget, syntax) {}

  // The rules of which any one is a value of the schema; none: there is no such value. They are declared at once and
  // defined by finish().
  Result<std::vector<uint32_t>> values(const SchemaPlace& schema);
  // As values(), but only objects and only those rules: the arguments of a tool.
  Result<std::vector<uint32_t>> objects(const SchemaPlace& schema);
  // Defines what is declared. Errors as those of SchemaResolver and LeafRules.
  Result<void> finish();

  LeafRules& leaves() { return leaves_; }

 private:
  struct Container {
    uint32_t rule;
    bool object;
    SchemaPlace plain;
  };
  struct Property {
    std::string name;
    std::vector<uint32_t> values;
    bool required;
  };
  // Keys that are not declared, and what they may hold.
  struct Extra {
    uint32_t key;
    std::vector<uint32_t> values;
  };
  struct ObjectShape {
    std::vector<Property> properties;
    std::vector<Extra> extras;
    int64_t min = 0, max = -1;
    bool impossible = false;
  };

  Result<std::vector<uint32_t>> plain_values(const SchemaPlace& plain, uint8_t among);
  Result<Nfa> write_array(const SchemaPlace& plain);
  Result<ObjectShape> shape_of(const SchemaPlace& plain);
  Result<void> add_extras(const SchemaPlace& plain, const std::vector<std::string>& declared, const Json* patterns,
                          ObjectShape& shape);
  Result<Nfa> write_object(const SchemaPlace& plain);
  static void call_all(Nfa& nfa, uint32_t from, const std::vector<uint32_t>& rules, uint32_t to);
  Error error(ErrorCode code, const std::string& where, std::string_view what) const;

  GrammarBuilder& builder_;
  CompileBudget& budget_;
  SchemaResolver& resolver_;
  ValueSyntax syntax_;
  LeafRules leaves_;
  std::map<std::pair<const Json*, uint8_t>, std::vector<uint32_t>> known_;
  std::vector<Container> todo_;
  size_t done_ = 0;
};

}  // namespace lapidary
