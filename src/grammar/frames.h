// Where an answer stands in its grammar: a set of (state, way back), all possibilities at once. The way back of a call
// is itself such a set, shared and hash-consed, so ambiguous schemas do not multiply with depth.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"

namespace lapidary {

struct GrammarItem {
  uint32_t state = 0;
  int32_t count = 0;     // of the state's rule
  uint32_t returns = 0;  // a set of the Frames: where to go on after the rule; 0: the answer ends
  auto operator<=>(const GrammarItem&) const = default;  // NOLINT(modernize-use-nullptr), as in engine/kv_cache.h
};

// A position: items sorted by state, each (state, count) once.
struct GrammarPosition {
  std::vector<GrammarItem> items;
  bool can_end = false;
};

class Frames {
 public:
  explicit Frames(GrammarPtr grammar);

  const Grammar& grammar() const { return *grammar_; }

  GrammarPosition start();
  // Reads one symbol. out has no items and cannot end when the symbol is not possible. out is not `from`.
  void step(const GrammarPosition& from, int symbol, GrammarPosition& out);
  // Where an item's rule returns to, when it is complete.
  void leave(const GrammarItem& item, GrammarPosition& out);

  // Sets made after mark() are forgotten by release(): looking ahead leaves nothing behind.
  size_t mark() const { return sets_.size(); }
  void release(size_t mark);

 private:
  struct Set {
    uint32_t begin, end;  // of items_
    int32_t depth;        // levels of nesting that are open here
    uint64_t hash;
    uint32_t older;  // of the same hash
  };

  std::span<const GrammarItem> items(uint32_t set) const {
    return {items_.data() + sets_[set].begin, items_.data() + sets_[set].end};
  }
  uint32_t intern(std::vector<GrammarItem>& items);
  int32_t depth_of(const GrammarItem& item) const;
  bool within_depth(const GrammarItem& item) const;
  void merge(std::vector<GrammarItem>& items);
  void settle(GrammarPosition& position);

  GrammarPtr grammar_;
  std::vector<GrammarItem> items_;
  std::vector<Set> sets_;
  std::unordered_map<uint64_t, uint32_t> by_hash_;
};

}  // namespace lapidary
