// The room's front door: schemas, patterns, choices and declared tools to grammars. Any thread may compile; the result
// is immutable. Compiling is bounded by kLimits (well under two seconds) and hostile input is refused with one line.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/grammar.h"

namespace lapidary {

struct SchemaOptions {
  // What cannot be honoured is an error that names it by its JSON pointer; else it is left out.
  bool strict = true;
  // No white space between the tokens of JSON. Otherwise one space or a line feed with up to 64 characters of
  // indentation may stand wherever JSON allows white space between tokens, except before a colon and around the whole
  // value.
  bool compact = false;
};

// The JSON texts that a schema describes (2020-12 and draft 7):
//   type (lists too), nullable, enum, const, anyOf, oneOf (branches must exclude each other by type or constants),
//   allOf, $ref to #/..., recursion; properties, required, additionalProperties, patternProperties, propertyNames,
//   minProperties, maxProperties; items, prefixItems, additionalItems, minItems, maxItems; minLength, maxLength,
//   pattern (see regex.h), format (see string_formats.h); minimum, maximum, their exclusive forms, multipleOf (whole
//   numbers).
// Refused when strict: not, if, contains, uniqueItems, dependent*, unevaluated*, and combinations named in the error.
// Properties come in the schema's order, undeclared ones last; optional ones may be left out. Strings with a pattern or
// a format, constants and keys are spelled without needless escapes; other strings may use any escape. Errors:
// kUnsupported, kInvalidArgument, kExhausted.
Result<GrammarPtr> compile_json_schema(const Json& schema, const SchemaOptions& options);

// Any JSON object.
Result<GrammarPtr> compile_json_object(const SchemaOptions& options);

// Texts that match pattern from end to end.
Result<GrammarPtr> compile_regex(std::string_view pattern);

// One of the texts. Errors: kInvalidArgument when there is none, or one is not UTF-8.
Result<GrammarPtr> compile_choice(std::span<const std::string> texts);

struct ToolCallOptions {
  // Only these tools may be called; empty: all.
  std::vector<std::string> names;
  bool parallel = true;  // more than one call in a row
  // The marker <|tool_call> is already written: the grammar of a call that the model began by itself.
  bool after_marker = false;
};

// One call or more, in the model's own syntax (docs/model-notes.md), of tools given as [{"type": "function",
// "function":
// {...}}] or bare functions. A tool with "strict": true is held to its whole schema as above; of the others what cannot
// be honoured is left out. Arguments stand in alphabetical order, as in prompts; additionalProperties is false where it
// is absent. Errors as above, with the tool's name.
Result<GrammarPtr> compile_tool_calls(const Json& tools, const ToolCallOptions& options);

}  // namespace lapidary
