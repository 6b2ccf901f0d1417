#include "grammar/compile.h"

#include <fmt/format.h>

#include <utility>

#include "base/utf8.h"
#include "grammar/code_points.h"
#include "grammar/grammar_builder.h"
#include "grammar/leaf_rules.h"
#include "grammar/regex.h"
#include "grammar/schema_resolver.h"
#include "grammar/schema_rules.h"

namespace lapidary {

Result<GrammarPtr> compile_json_schema(const Json& schema, const SchemaOptions& options) {
  GrammarBuilder builder;
  CompileBudget budget;
  SchemaResolver resolver(schema, options.strict);
  SchemaRules rules(builder, budget, resolver, {.json = true, .whitespace = !options.compact});
  const SchemaPlace whole{&schema, "#"};
  const uint32_t root = builder.declare(GrammarBuilder::Kind::kLeaf, "schema #");
  ASSIGN_OR_RETURN(const std::vector<uint32_t> values, rules.values(whole));
  RETURN_IF_ERROR(rules.finish());
  Nfa nfa;
  const uint32_t end = nfa.add();
  nfa.accept(end);
  for (const uint32_t rule : values) nfa.call(0, rule, end);
  ASSIGN_OR_RETURN(Dfa automaton, determinise(nfa, budget));
  builder.define(root, std::move(automaton));
  return builder.build(root);
}

Result<GrammarPtr> compile_json_object(const SchemaOptions& options) {
  static const Json schema = Json::object({{"type", "object"}});
  return compile_json_schema(schema, options);
}

Result<GrammarPtr> compile_regex(std::string_view pattern) {
  GrammarBuilder builder;
  CompileBudget budget;
  const uint32_t root = builder.declare(GrammarBuilder::Kind::kLeaf, "pattern");
  if (const std::optional<CountedSet> set = as_counted_set(pattern, RegexMatch::kWhole)) {
    Nfa nfa;
    nfa.accept(0);
    add_code_points(nfa, 0, 0, set->set, Spelling::kRaw, kCounts);
    ASSIGN_OR_RETURN(Dfa automaton, determinise(nfa, budget));
    builder.define(root, std::move(automaton), set->min, set->max);
    return builder.build(root);
  }
  ASSIGN_OR_RETURN(Dfa automaton, compile_regex_dfa(pattern, RegexMatch::kWhole, Spelling::kRaw, budget));
  builder.define(root, std::move(automaton));
  return builder.build(root);
}

Result<GrammarPtr> compile_choice(std::span<const std::string> texts) {
  if (texts.empty()) return Error{ErrorCode::kInvalidArgument, "choice: expected at least one text"};
  GrammarBuilder builder;
  CompileBudget budget;
  Nfa nfa;
  const uint32_t end = nfa.add();
  nfa.accept(end);
  for (const std::string& text : texts) {
    if (!utf8_valid(text)) return Error{ErrorCode::kInvalidArgument, "choice: expected valid UTF-8"};
    nfa.empty(nfa.literal(0, text), end);
    if (nfa.states > static_cast<uint32_t>(budget.states)) return budget.exceeded();
  }
  ASSIGN_OR_RETURN(const Dfa automaton, determinise(nfa, budget));
  const uint32_t root = builder.declare(GrammarBuilder::Kind::kLeaf, "choice");
  builder.define(root, reduce(automaton, budget));
  return builder.build(root);
}

}  // namespace lapidary
