// Sets of Unicode scalars, and how their members are written in an answer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/nfa.h"

namespace lapidary {

struct CodePointRange {
  uint32_t low, high;  // both included
};

// Sorted, disjoint, not touching, without surrogates.
class CodePointSet {
 public:
  CodePointSet() = default;
  explicit CodePointSet(const std::vector<CodePointRange>& ranges);

  static CodePointSet all() { return CodePointSet({{0, 0x10ffff}}); }

  const std::vector<CodePointRange>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  CodePointSet with(const CodePointSet& other) const;
  CodePointSet complement() const;

 private:
  std::vector<CodePointRange> ranges_;
};

enum class Spelling : uint8_t {
  kRaw,   // UTF-8
  kJson,  // inside a JSON string: UTF-8, and an escape exactly where JSON demands one: \" \\ \b \t \n \f \r, else
          // \u00xx
};

// Every member of set as an edge or a chain of edges from `from` to `to`; first_flags stand on the first edge of
// each: a character that may not be counted any more must not be begun.
void add_code_points(Nfa& nfa, uint32_t from, uint32_t to, const CodePointSet& set, Spelling spelling,
                     uint8_t first_flags = 0);

// text (valid UTF-8) as kJson spells it, without the quotes; unchanged for kRaw.
std::string spelled(std::string_view text, Spelling spelling);

}  // namespace lapidary
