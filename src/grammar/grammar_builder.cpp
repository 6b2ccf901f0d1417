#include "grammar/grammar_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/rng.h"

namespace lapidary {
namespace {

constexpr uint32_t kUnknown = UINT32_MAX;

// Least levels of nesting from each state to the end of its rule. Knuth's generalisation of Dijkstra's algorithm: the
// cost of a call is the larger of what is inside and what comes after, which never falls, so the cheapest open state
// is final. States that stay kUnknown can never be finished.
class Heights {
 public:
  Heights(const Dfa& automaton, const std::vector<Grammar::Rule>& rules) : rules_(rules) {
    const uint32_t states = automaton.states();
    std::vector<std::pair<uint32_t, Back>> edges, calls;
    for (uint32_t s = 0; s < states; ++s) {
      for (uint32_t e = automaton.edge_begin[s]; e < automaton.edge_begin[s + 1]; ++e) {
        edges.push_back({automaton.edges[e].to, {s, kUnknown, 0}});
      }
      for (uint32_t c = automaton.call_begin[s]; c < automaton.call_begin[s + 1]; ++c) {
        const Dfa::Call& call = automaton.calls[c];
        edges.push_back({call.to, {s, call.rule, call.to}});
        calls.push_back({rules[call.rule].start, {s, call.rule, call.to}});
      }
    }
    to_target_ = index(edges, states);
    to_callee_ = index(calls, states);
    height.assign(states, kUnknown);
    for (uint32_t s = 0; s < states; ++s) {
      if (automaton.accepting[s] != 0) open_.emplace(0, s);
    }
    run();
  }

  std::vector<uint32_t> height;

 private:
  struct Back {
    uint32_t from, rule, to;
  };
  struct Index {
    std::vector<uint32_t> begin;
    std::vector<Back> list;
  };

  static Index index(const std::vector<std::pair<uint32_t, Back>>& pairs, uint32_t states) {
    Index out;
    out.begin.assign(states + 1, 0);
    for (const auto& pair : pairs) ++out.begin[pair.first + 1];
    for (uint32_t s = 0; s < states; ++s) out.begin[s + 1] += out.begin[s];
    out.list.resize(pairs.size());
    std::vector<uint32_t> next(out.begin.begin(), out.begin.end() - 1);
    for (const auto& pair : pairs) out.list[next[pair.first]++] = pair.second;
    return out;
  }

  void run() {
    while (!open_.empty()) {
      const auto [cost, state] = open_.top();
      open_.pop();
      if (height[state] != kUnknown) continue;
      height[state] = cost;
      for (const Index* index : {&to_target_, &to_callee_}) {
        for (uint32_t i = index->begin[state]; i < index->begin[state + 1]; ++i) relax(index->list[i], cost);
      }
    }
  }

  // cost: of the state that has just become final, the target of back.
  void relax(const Back& back, uint32_t cost) {
    if (back.rule == kUnknown) {
      open_.emplace(cost, back.from);
      return;
    }
    const uint32_t inside = height[rules_[back.rule].start], after = height[back.to];
    if (inside == kUnknown || after == kUnknown) return;
    open_.emplace(std::max(inside + (rules_[back.rule].container ? 1 : 0), after), back.from);
  }

  using Open = std::pair<uint32_t, uint32_t>;  // cost, state
  const std::vector<Grammar::Rule>& rules_;
  Index to_target_, to_callee_;
  std::priority_queue<Open, std::vector<Open>, std::greater<>> open_;
};

uint64_t hash_of(const Dfa& automaton) {
  uint64_t hash = automaton.states();
  const auto add = [&](uint64_t value) { hash = mix64(hash ^ (value + 0x9e3779b97f4a7c15ull)); };
  for (uint32_t s = 0; s < automaton.states(); ++s) {
    add(automaton.accepting[s] + 2 * (automaton.edge_begin[s + 1] - automaton.edge_begin[s]));
    for (uint32_t e = automaton.edge_begin[s]; e < automaton.edge_begin[s + 1]; ++e) {
      const Dfa::Edge& edge = automaton.edges[e];
      add(static_cast<uint64_t>(edge.low) << 48 | static_cast<uint64_t>(edge.high) << 36 | edge.flags);
      add(edge.to);
    }
  }
  return hash;
}

}  // namespace

uint32_t GrammarBuilder::declare(Kind kind, std::string where) {
  rules_.push_back({kind, std::move(where), {}, 0, -1});
  return static_cast<uint32_t>(rules_.size() - 1);
}

void GrammarBuilder::define(uint32_t rule, Dfa automaton, int32_t count_min, int32_t count_max) {
  Part& part = rules_[rule];
  CHECK(part.automaton.states() == 0 && automaton.states() > 0);
  part.automaton = std::move(automaton);
  part.count_min = count_min;
  part.count_max = count_max;
}

int GrammarBuilder::marker(std::string_view spelling) {
  for (size_t i = 0; i < markers_.size(); ++i) {
    if (markers_[i] == spelling) return kFirstMarker + static_cast<int>(i);
  }
  CHECK(markers_.size() < kMarkersMax);
  markers_.emplace_back(spelling);
  return kFirstMarker + static_cast<int>(markers_.size() - 1);
}

Result<GrammarPtr> GrammarBuilder::build(uint32_t root) {
  auto grammar = std::make_shared<Grammar>();
  Dfa all;
  for (const Part& part : rules_) {
    const Dfa& dfa = part.automaton;
    CHECK(dfa.states() > 0);
    const uint32_t base = all.states();
    if (base + static_cast<int64_t>(dfa.states()) > kLimits.grammar_states_max) return CompileBudget().exceeded();
    Grammar::Rule rule;
    rule.start = base;
    rule.end = base + dfa.states();
    rule.count_min = part.count_min;
    rule.count_max = part.count_max;
    rule.container = part.kind == Kind::kContainer;
    rule.leaf = dfa.calls.empty();
    for (uint32_t s = 0; s < dfa.states(); ++s) {
      for (uint32_t e = dfa.edge_begin[s]; e < dfa.edge_begin[s + 1]; ++e) {
        all.edges.push_back(dfa.edges[e]);
        all.edges.back().to += base;
      }
      for (uint32_t c = dfa.call_begin[s]; c < dfa.call_begin[s + 1]; ++c) {
        all.calls.push_back({dfa.calls[c].rule, dfa.calls[c].to + base});
      }
      all.edge_begin.push_back(static_cast<uint32_t>(all.edges.size()));
      all.call_begin.push_back(static_cast<uint32_t>(all.calls.size()));
      all.accepting.push_back(dfa.accepting[s]);
    }
    grammar->rules_.push_back(rule);
  }
  const std::vector<uint32_t> height = Heights(all, grammar->rules_).height;
  const auto possible = [&](uint32_t state) {
    return height[state] <= static_cast<uint32_t>(kLimits.grammar_depth_max);
  };
  if (!possible(grammar->rules_[root].start)) {
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("{}: no value satisfies it (looked {} levels deep)",
                    rules_[root].where.empty() ? "the whole schema" : rules_[root].where, kLimits.grammar_depth_max)};
  }
  // The same automata without ways into states that cannot be finished.
  Dfa& kept = grammar->automaton_;
  for (uint32_t r = 0; r < rules_.size(); ++r) {
    Grammar::Rule& rule = grammar->rules_[r];
    for (uint32_t s = rule.start; s < rule.end; ++s) {
      for (uint32_t e = all.edge_begin[s]; e < all.edge_begin[s + 1]; ++e) {
        if (possible(all.edges[e].to)) kept.edges.push_back(all.edges[e]);
      }
      for (uint32_t c = all.call_begin[s]; c < all.call_begin[s + 1]; ++c) {
        if (possible(all.calls[c].to) && possible(grammar->rules_[all.calls[c].rule].start)) {
          kept.calls.push_back(all.calls[c]);
        }
      }
      kept.edge_begin.push_back(static_cast<uint32_t>(kept.edges.size()));
      kept.call_begin.push_back(static_cast<uint32_t>(kept.calls.size()));
      kept.accepting.push_back(all.accepting[s]);
      grammar->rule_of_.push_back(r);
      grammar->height_.push_back(static_cast<uint8_t>(possible(s) ? height[s] : 0));
    }
    // What the closure of Frames relies on: a call reads at least one symbol before it calls or ends.
    CHECK(r == root ||
          (kept.accepting[rule.start] == 0 && kept.call_begin[rule.start] == kept.call_begin[rule.start + 1]));
  }
  for (uint32_t r = 0; r < rules_.size(); ++r) {
    if (grammar->rules_[r].leaf) grammar->rules_[r].hash = hash_of(leaf_automaton(*grammar, r));
  }
  grammar->markers_ = markers_;
  grammar->root_ = root;
  return GrammarPtr(std::move(grammar));
}

}  // namespace lapidary
