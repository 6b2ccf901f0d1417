// A finite automaton with empty moves, as compilers of patterns and schemas write it down. Its alphabet is bytes, a few
// control tokens of the vocabulary ("markers"), and calls of other rules.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace lapidary {

// Symbols 0 to 255 are bytes, kFirstMarker + i is marker i of the grammar.
inline constexpr int kFirstMarker = 256;
inline constexpr int kMarkersMax = 16;
inline constexpr int kSymbols = kFirstMarker + kMarkersMax;

// What following an edge does to the counter of its rule.
enum EdgeFlags : uint8_t {
  kCounts = 1,       // one more; only below the rule's maximum
  kNeedsEnough = 2,  // only when the rule's minimum is reached
};

// When an empty move may be taken: the anchors of patterns.
enum class Anchor : uint8_t { kNone, kAtStart, kAtEnd };

struct Nfa {
  struct Edge {
    uint32_t from;
    uint16_t low, high;  // symbols, both included
    uint8_t flags;
    uint32_t to;
  };
  struct Empty {
    uint32_t from, to;
    Anchor anchor;
  };
  struct Call {
    uint32_t from, rule, to;  // one whole match of rule leads from `from` to `to`
  };

  uint32_t states = 1;  // state 0 is the start
  std::vector<Edge> edges;
  std::vector<Empty> empties;
  std::vector<Call> calls;
  std::vector<uint32_t> accepting;

  uint32_t add() { return states++; }
  void edge(uint32_t from, int low, int high, uint32_t to, uint8_t flags = 0) {
    edges.push_back({from, static_cast<uint16_t>(low), static_cast<uint16_t>(high), flags, to});
  }
  void empty(uint32_t from, uint32_t to, Anchor anchor = Anchor::kNone) { empties.push_back({from, to, anchor}); }
  void call(uint32_t from, uint32_t rule, uint32_t to) { calls.push_back({from, rule, to}); }
  void accept(uint32_t state) { accepting.push_back(state); }

  // A chain of new states from `from` to `to`; first_flags stand on its first edge. bytes is not empty.
  void literal_to(uint32_t from, std::string_view bytes, uint32_t to, uint8_t first_flags = 0);
  // The same to a new state, which is returned; from itself when bytes is empty.
  uint32_t literal(uint32_t from, std::string_view bytes);
};

}  // namespace lapidary
