// Deterministic automata: at most one edge for a symbol. Calls of other rules stay as they are; a state may have
// several.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "grammar/nfa.h"

namespace lapidary {

// What is left of the work that one compilation may cause.
struct CompileBudget {
  int64_t work = kLimits.grammar_work_max;
  int64_t states = kLimits.grammar_states_max;

  bool spend(int64_t steps) { return (work -= steps) >= 0; }
  Error exceeded() const;
};

struct Dfa {
  struct Edge {
    uint16_t low, high;  // symbols, both included; sorted and disjoint within a state
    uint8_t flags;       // EdgeFlags
    uint32_t to;
  };
  struct Call {
    uint32_t rule, to;
  };

  // State 0 is the start. Edges of state s: edges[edge_begin[s]] up to edges[edge_begin[s + 1]]; calls likewise.
  std::vector<uint32_t> edge_begin{0}, call_begin{0};
  std::vector<Edge> edges;
  std::vector<Call> calls;
  std::vector<uint8_t> accepting;

  uint32_t states() const { return static_cast<uint32_t>(accepting.size()); }
  // nullptr when there is none.
  const Edge* find(uint32_t state, int symbol) const;
  bool matches(std::string_view bytes) const;
};

// The subset construction. Anchors are resolved: the start is the start of the text, acceptance its end.
// Errors: kExhausted when the budget does not suffice.
Result<Dfa> determinise(const Nfa& nfa, CompileBudget& budget);

// The same language with unreachable, dead and equivalent states removed, as far as the budget goes. An empty language
// gives one state that does not accept.
Dfa reduce(const Dfa& dfa, CompileBudget& budget);

// Runs a and b side by side over texts that a can read; keep(in_a, in_b) says which texts are in the result:
// intersection or difference. Edge flags are a's. Neither has calls. Errors: kExhausted.
Result<Dfa> combine(const Dfa& a, const Dfa& b, const std::function<bool(bool, bool)>& keep, CompileBudget& budget);

// Of the reachable states none accepts.
bool is_empty(const Dfa& dfa);

}  // namespace lapidary
