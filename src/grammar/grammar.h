// A compiled grammar: which texts an answer may be. Rules (one for each object, array and kind of leaf) are
// deterministic automata over bytes and markers; a value inside a container is a call of its rule. Immutable, knows no
// vocabulary, shared between threads and requests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "grammar/dfa.h"

namespace lapidary {

class Grammar {
 public:
  struct Rule {
    uint32_t start = 0, end = 0;  // its states are [start, end)
    int32_t count_min = 0, count_max = -1;
    bool container = false;  // an object or array: one level of nesting
    bool leaf = false;       // calls nothing
    uint64_t hash = 0;       // of a leaf's automaton
  };

  // All rules side by side; states are numbered through.
  const Dfa& automaton() const { return automaton_; }
  const std::vector<Rule>& rules() const { return rules_; }
  uint32_t rule_of(uint32_t state) const { return rule_of_[state]; }
  // Levels of nesting that the shortest way from state to the end of its rule needs below it.
  int32_t height(uint32_t state) const { return height_[state]; }
  uint32_t root() const { return root_; }
  // Spellings of the control tokens that symbols from kFirstMarker on stand for.
  const std::vector<std::string>& markers() const { return markers_; }

 private:
  friend class GrammarBuilder;
  Dfa automaton_;
  std::vector<Rule> rules_;
  std::vector<uint32_t> rule_of_;
  std::vector<uint8_t> height_;
  std::vector<std::string> markers_;
  uint32_t root_ = 0;
};

using GrammarPtr = std::shared_ptr<const Grammar>;

// The part of an automaton that is one leaf rule, its states numbered from 0.
Dfa leaf_automaton(const Grammar& grammar, uint32_t rule);

}  // namespace lapidary
