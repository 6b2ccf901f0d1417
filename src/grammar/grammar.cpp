#include "grammar/grammar.h"

#include "base/check.h"

namespace lapidary {

Dfa leaf_automaton(const Grammar& grammar, uint32_t rule) {
  const Grammar::Rule& found = grammar.rules()[rule];
  CHECK(found.leaf);
  const Dfa& all = grammar.automaton();
  Dfa leaf;
  for (uint32_t s = found.start; s < found.end; ++s) {
    for (uint32_t e = all.edge_begin[s]; e < all.edge_begin[s + 1]; ++e) {
      Dfa::Edge edge = all.edges[e];
      edge.to -= found.start;
      leaf.edges.push_back(edge);
    }
    leaf.edge_begin.push_back(static_cast<uint32_t>(leaf.edges.size()));
    leaf.call_begin.push_back(0);
    leaf.accepting.push_back(all.accepting[s]);
  }
  return leaf;
}

}  // namespace lapidary
