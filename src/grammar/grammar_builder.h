// Puts rules together to a Grammar and drops what can never be finished.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"

namespace lapidary {

class GrammarBuilder {
 public:
  enum class Kind : uint8_t { kLeaf, kContainer };

  // A rule to be defined later, so that rules can call each other. where: the JSON pointer, for messages.
  uint32_t declare(Kind kind, std::string where);
  // count_max -1: no bound. A rule other than the root matches no empty text and begins with a symbol.
  void define(uint32_t rule, Dfa automaton, int32_t count_min = 0, int32_t count_max = -1);
  // The symbol of a control token. Markers are few (kMarkersMax) and known to the compilers.
  int marker(std::string_view spelling);

  int64_t rules() const { return static_cast<int64_t>(rules_.size()); }

  // Errors: kInvalidArgument when no finite text within kLimits.grammar_depth_max levels satisfies the root;
  // kExhausted.
  Result<GrammarPtr> build(uint32_t root);

 private:
  struct Part {
    Kind kind;
    std::string where;
    Dfa automaton;
    int32_t count_min = 0, count_max = -1;
  };

  std::vector<Part> rules_;
  std::vector<std::string> markers_;
};

}  // namespace lapidary
