// Which tokens a leaf (a string, a number, a pattern) permits from each of its states, whatever stands around it. This
// is the dear part of a mask, a walk over the whole vocabulary, so it is made once for a state and shared by all
// grammars with the same leaf: the inside of a plain JSON string is computed once in the life of the program.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/token_trie.h"

namespace lapidary {

struct LeafMask {
  struct Pop {
    uint32_t node;  // of the trie: the leaf is complete here
    int32_t counted;
  };

  // Tokens that stay inside the leaf; without a counter also those that end with it.
  std::vector<uint64_t> inside;
  // With a counter: inside tokens by how often they count, by_count[begin[k]] to by_count[begin[k + 1]].
  std::vector<int32_t> by_count;
  std::vector<uint32_t> begin;
  // Where a token may leave the leaf. Without a counter only nodes with a subtree.
  std::vector<Pop> pops;

  int64_t bytes() const;
};

// One leaf automaton with the masks made so far.
class LeafMasks {
 public:
  explicit LeafMasks(Dfa automaton);

  const Dfa& automaton() const { return automaton_; }
  int64_t bytes() const { return bytes_; }
  // state: numbered within the leaf.
  const LeafMask& mask(const TokenTrie& trie, uint32_t state);

 private:
  Dfa automaton_;
  bool counted_ = false;
  std::vector<std::unique_ptr<LeafMask>> masks_;
  int64_t bytes_ = 0;
};

// The masks of one vocabulary. Belongs to the thread that owns the matchers.
class MaskLibrary {
 public:
  explicit MaskLibrary(std::shared_ptr<const TokenTrie> trie) : trie_(std::move(trie)) {}

  const TokenTrie& trie() const { return *trie_; }
  // The masks of a leaf rule, those of an equal leaf of another grammar if there are any. Masks that no grammar in use
  // needs are dropped beyond kLimits.grammar_mask_bytes_max.
  std::shared_ptr<LeafMasks> leaf(const Grammar& grammar, uint32_t rule);

 private:
  std::shared_ptr<const TokenTrie> trie_;
  std::unordered_multimap<uint64_t, std::shared_ptr<LeafMasks>> leaves_;
};

}  // namespace lapidary
