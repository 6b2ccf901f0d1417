// Regular expressions of ECMA-262, the part that a finite automaton can say:
//
//   characters . [...] [^...] \d \D \w \W \s \S \t \n \r \f \v \0 \cX \xHH \uHHHH \u{H...} and escaped punctuation
//   groups (...) (?:...) (?<name>...); alternation; * + ? {m} {m,} {m,n}, lazy or not; ^ and $ (the text's ends)
//
// Refused, with the byte where it stands: lookaround, backreferences, \b and \B, \p{...}, inline flags, possessive
// quantifiers. \s and \S hold only characters on which ECMA-262 and Python agree, so that a text is right for both.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "grammar/code_points.h"
#include "grammar/dfa.h"

namespace lapidary {

enum class RegexMatch : uint8_t {
  kWhole,     // the text is a match: structured output by a pattern
  kAnywhere,  // the text contains a match: `pattern` of a JSON Schema
};

// The texts that match, each character spelled as spelling says. Errors: kUnsupported for what is refused,
// kInvalidArgument for bad syntax, kExhausted beyond kLimits.regex_bytes_max, regex_repeat_max or the budget.
Result<Dfa> compile_regex_dfa(std::string_view pattern, RegexMatch match, Spelling spelling, CompileBudget& budget);

// Only the syntax. Errors as above, but for the budget's.
Result<void> check_regex(std::string_view pattern);

// A pattern that is one repeated set of characters from end to end: ^[a-z]{2,80}$. Counting says it without a state for
// each repetition.
struct CountedSet {
  CodePointSet set;
  int32_t min = 0;
  int32_t max = -1;  // -1: no bound
};
std::optional<CountedSet> as_counted_set(std::string_view pattern, RegexMatch match);

}  // namespace lapidary
