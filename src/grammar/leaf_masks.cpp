#include "grammar/leaf_masks.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace lapidary {
namespace {

constexpr uint32_t kDead = UINT32_MAX;

// Automaton rows spread out for the states that a walk meets: one load instead of a search for each byte.
class Rows {
 public:
  explicit Rows(const Dfa& automaton) : automaton_(automaton), index_(automaton.states(), kDead) {}

  // Target, its top bit set when the edge counts; kDead when there is none.
  uint32_t next(uint32_t state, uint8_t byte) {
    uint32_t row = index_[state];
    if (row == kDead) {
      row = index_[state] = static_cast<uint32_t>(rows_.size() / 256);
      rows_.resize(rows_.size() + 256, kDead);
      for (uint32_t e = automaton_.edge_begin[state]; e < automaton_.edge_begin[state + 1]; ++e) {
        const Dfa::Edge& edge = automaton_.edges[e];
        for (int symbol = edge.low; symbol <= std::min<int>(edge.high, 255); ++symbol) {
          rows_[row * 256 + static_cast<size_t>(symbol)] = edge.to | ((edge.flags & kCounts) != 0 ? kCountBit : 0);
        }
      }
    }
    return rows_[static_cast<size_t>(row) * 256 + byte];
  }

  static constexpr uint32_t kCountBit = 1u << 31;

 private:
  const Dfa& automaton_;
  std::vector<uint32_t> index_, rows_;
};

bool equal(const Dfa& a, const Dfa& b) {
  const auto same_edge = [](const Dfa::Edge& x, const Dfa::Edge& y) {
    return x.low == y.low && x.high == y.high && x.flags == y.flags && x.to == y.to;
  };
  return a.accepting == b.accepting && a.edge_begin == b.edge_begin && a.edges.size() == b.edges.size() &&
         std::equal(a.edges.begin(), a.edges.end(), b.edges.begin(), same_edge);
}

}  // namespace

int64_t LeafMask::bytes() const {
  return static_cast<int64_t>(inside.size() * 8 + by_count.size() * 4 + begin.size() * 4 + pops.size() * sizeof(Pop));
}

LeafMasks::LeafMasks(Dfa automaton) : automaton_(std::move(automaton)), masks_(automaton_.states()) {
  counted_ = std::any_of(automaton_.edges.begin(), automaton_.edges.end(),
                         [](const Dfa::Edge& edge) { return edge.flags != 0; });
}

const LeafMask& LeafMasks::mask(const TokenTrie& trie, uint32_t state) {
  std::unique_ptr<LeafMask>& found = masks_[state];
  if (found) return *found;
  found = std::make_unique<LeafMask>();
  LeafMask& mask = *found;
  mask.inside.assign(trie.mask_words(), 0);
  const std::vector<TokenTrie::Node>& nodes = trie.nodes();
  std::vector<uint32_t> states(static_cast<size_t>(trie.depth()) + 1);
  std::vector<int32_t> counts(states.size(), 0);
  std::vector<std::pair<int32_t, int32_t>> counted;  // how often, token
  Rows rows(automaton_);
  states[0] = state;
  for (uint32_t n = 1; n < nodes.size();) {
    const TokenTrie::Node& node = nodes[n];
    const uint32_t next = rows.next(states[node.depth - 1u], node.byte);
    if (next == kDead) {
      n = node.end;
      continue;
    }
    const uint32_t to = next & ~Rows::kCountBit;
    const int32_t count = counts[node.depth - 1u] + (next != to ? 1 : 0);
    const bool complete = automaton_.accepting[to] != 0;
    const bool goes_on = automaton_.edge_begin[to] != automaton_.edge_begin[to + 1];
    states[node.depth] = to;
    counts[node.depth] = count;
    if (!counted_ || goes_on) {
      for (const int32_t token : trie.tokens_at(n)) {
        set_bit(mask.inside, token);
        if (counted_) counted.emplace_back(count, token);
      }
    }
    if (complete && (counted_ || node.end > n + 1)) mask.pops.push_back({n, count});
    n = goes_on ? n + 1 : node.end;
  }
  if (counted_) {
    std::sort(counted.begin(), counted.end());
    mask.begin.push_back(0);
    for (const auto& [count, token] : counted) {
      while (mask.begin.size() <= static_cast<size_t>(count)) {
        mask.begin.push_back(static_cast<uint32_t>(mask.by_count.size()));
      }
      mask.by_count.push_back(token);
    }
    mask.begin.push_back(static_cast<uint32_t>(mask.by_count.size()));
  }
  bytes_ += mask.bytes();
  return mask;
}

std::shared_ptr<LeafMasks> MaskLibrary::leaf(const Grammar& grammar, uint32_t rule) {
  const uint64_t hash = grammar.rules()[rule].hash;
  Dfa automaton = leaf_automaton(grammar, rule);
  const auto [first, last] = leaves_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (equal(it->second->automaton(), automaton)) return it->second;
  }
  int64_t bytes = 0;
  for (const auto& [key, leaf] : leaves_) bytes += leaf->bytes();
  if (bytes > kLimits.grammar_mask_bytes_max) {
    std::erase_if(leaves_, [](const auto& entry) { return entry.second.use_count() == 1; });
  }
  auto leaf = std::make_shared<LeafMasks>(std::move(automaton));
  leaves_.emplace(hash, leaf);
  return leaf;
}

}  // namespace lapidary
