// compile_tool_calls: <|tool_call>call:NAME{key:value,...}<tool_call|>, again and again when calls may be parallel.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <set>
#include <string>
#include <utility>

#include "grammar/compile.h"
#include "grammar/grammar_builder.h"
#include "grammar/schema_resolver.h"
#include "grammar/schema_rules.h"

namespace lapidary {
namespace {

constexpr size_t kNameBytesMax = 128;

bool is_tool_name(const std::string& name) {
  const auto good = [](char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           std::string_view("_.:/-").find(c) != std::string_view::npos;
  };
  return !name.empty() && name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), good);
}

const Json* find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// Parameters that say nothing about properties take none: an empty schema means a tool without arguments.
Json parameters_of(const Json& function) {
  const Json* given = find(function, "parameters");
  if (given == nullptr) given = find(function, "input_schema");
  Json parameters = given == nullptr ? Json::object() : *given;
  if (!parameters.is_object()) return parameters;
  const bool open = std::any_of(parameters.items().begin(), parameters.items().end(), [](const auto& item) {
    static const std::set<std::string> kOpen{
        "properties", "patternProperties", "additionalProperties", "$ref", "anyOf", "oneOf", "allOf", "required"};
    return kOpen.count(item.key()) != 0;
  });
  if (!open) parameters["additionalProperties"] = false;
  return parameters;
}

Error of_tool(const std::string& name, Error error) {
  error.message = fmt::format("tool {}: {}", name, error.message);
  return error;
}

}  // namespace

Result<GrammarPtr> compile_tool_calls(const Json& tools, const ToolCallOptions& options) {
  if (!tools.is_array()) return Error{ErrorCode::kInvalidArgument, "tools: expected a list"};
  GrammarBuilder builder;
  CompileBudget budget;
  const ValueSyntax syntax{.json = false, .whitespace = false, .sorted_keys = true, .closed_objects = true};
  const uint32_t root = builder.declare(GrammarBuilder::Kind::kLeaf, "tools");
  Nfa nfa;
  const uint32_t inside = nfa.add(), close = nfa.add(), end = nfa.add();
  const int open_marker = builder.marker("<|tool_call>"), close_marker = builder.marker("<tool_call|>");
  if (options.after_marker) {
    nfa.empty(0, inside);
  } else {
    nfa.edge(0, open_marker, open_marker, inside);
  }
  nfa.edge(close, close_marker, close_marker, end);
  nfa.accept(end);
  if (options.parallel) nfa.edge(end, open_marker, open_marker, inside);

  std::deque<Json> schemas;  // the rules refer to them until they are finished
  std::set<std::string> known;
  for (const Json& tool : tools) {
    const Json* wrapped = find(tool, "function");
    const Json& function = wrapped != nullptr ? *wrapped : tool;
    const Json* name_value = find(function, "name");
    const std::string name = name_value != nullptr && name_value->is_string() ? name_value->get<std::string>() : "";
    if (!is_tool_name(name)) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("tools: expected names of 1 to {} letters, digits and _ . : / -, found {}",
                               kNameBytesMax, name_value != nullptr ? dump_json(*name_value).substr(0, 200) : "none")};
    }
    if (!known.insert(name).second)
      return Error{ErrorCode::kInvalidArgument, fmt::format("tools: {} is declared twice", name)};
    if (!options.names.empty() && std::find(options.names.begin(), options.names.end(), name) == options.names.end())
      continue;
    const Json* strict = find(function, "strict");
    schemas.push_back(parameters_of(function));
    SchemaResolver resolver(schemas.back(), strict != nullptr && *strict == true);
    SchemaRules rules(builder, budget, resolver, syntax);
    Result<std::vector<uint32_t>> arguments = rules.objects({&schemas.back(), "#"});
    if (!arguments) return of_tool(name, arguments.error());
    if (arguments->empty()) return of_tool(name, {ErrorCode::kInvalidArgument, "schema #: no object satisfies it"});
    if (Result<void> finished = rules.finish(); !finished) return of_tool(name, finished.error());
    const uint32_t before = nfa.literal(inside, "call:" + name);
    for (const uint32_t rule : *arguments) nfa.call(before, rule, close);
  }
  for (const std::string& name : options.names) {
    if (known.count(name) == 0)
      return Error{ErrorCode::kInvalidArgument, fmt::format("tools: there is no tool {}", name)};
  }
  if (known.empty()) return Error{ErrorCode::kInvalidArgument, "tools: expected at least one"};
  ASSIGN_OR_RETURN(Dfa automaton, determinise(nfa, budget));
  builder.define(root, reduce(automaton, budget));
  return builder.build(root);
}

}  // namespace lapidary
