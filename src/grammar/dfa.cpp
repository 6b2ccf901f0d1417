#include "grammar/dfa.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace lapidary {
namespace {

struct VectorHash {
  size_t operator()(const std::vector<uint32_t>& values) const {
    uint64_t hash = values.size();
    for (const uint32_t value : values) hash = mix64(hash ^ (value + 0x9e3779b97f4a7c15ull));
    return hash;
  }
};

// Begin of each state's part in a list sorted by its member `from`.
template <class T>
std::vector<uint32_t> begins(std::vector<T>& list, uint32_t states) {
  std::stable_sort(list.begin(), list.end(), [](const T& a, const T& b) { return a.from < b.from; });
  std::vector<uint32_t> begin(states + 1, 0);
  for (const T& item : list) ++begin[item.from + 1];
  for (uint32_t s = 0; s < states; ++s) begin[s + 1] += begin[s];
  return begin;
}

class Determiniser {
 public:
  Determiniser(const Nfa& nfa, CompileBudget& budget) : nfa_(nfa), budget_(budget) {
    edge_begin_ = begins(nfa_.edges, nfa_.states);
    empty_begin_ = begins(nfa_.empties, nfa_.states);
    call_begin_ = begins(nfa_.calls, nfa_.states);
    accepting_.assign(nfa_.states, 0);
    for (const uint32_t state : nfa_.accepting) accepting_[state] = 1;
    mark_.assign(nfa_.states, 0);
  }

  Result<Dfa> run() {
    if (!budget_.spend(nfa_.states + static_cast<int64_t>(nfa_.edges.size()))) return budget_.exceeded();
    id_of({0}, true);
    for (size_t s = 0; s < sets_.size(); ++s) {
      const std::vector<uint32_t> set = *sets_[s];
      dfa_.accepting.push_back(accepts(set, s == 0));
      follow_edges(set);
      follow_calls(set);
      dfa_.edge_begin.push_back(static_cast<uint32_t>(dfa_.edges.size()));
      dfa_.call_begin.push_back(static_cast<uint32_t>(dfa_.calls.size()));
      if (budget_.work < 0 || budget_.states < 0) return budget_.exceeded();
    }
    return std::move(dfa_);
  }

 private:
  // Adds what empty moves reach; the result is sorted.
  void close(std::vector<uint32_t>& set, bool at_start, bool at_end) {
    ++round_;
    for (const uint32_t state : set) mark_[state] = round_;
    for (size_t i = 0; i < set.size(); ++i) {
      const uint32_t from = set[i];
      for (uint32_t e = empty_begin_[from]; e < empty_begin_[from + 1]; ++e) {
        const Nfa::Empty& move = nfa_.empties[e];
        if (move.anchor == Anchor::kAtStart && !at_start) continue;
        if (move.anchor == Anchor::kAtEnd && !at_end) continue;
        if (mark_[move.to] == round_) continue;
        mark_[move.to] = round_;
        set.push_back(move.to);
      }
      budget_.spend(3 * (1 + static_cast<int64_t>(empty_begin_[from + 1]) - empty_begin_[from]));
    }
    std::sort(set.begin(), set.end());
  }

  uint32_t id_of(std::vector<uint32_t> seeds, bool at_start) {
    std::sort(seeds.begin(), seeds.end());
    seeds.erase(std::unique(seeds.begin(), seeds.end()), seeds.end());
    close(seeds, at_start, false);
    // The start is a set of its own when anchors tell it from the same set later in the text.
    if (at_start) seeds.push_back(UINT32_MAX);
    const auto [it, added] = ids_.try_emplace(std::move(seeds), static_cast<uint32_t>(sets_.size()));
    if (added) {
      sets_.push_back(&it->first);
      --budget_.states;
    }
    return it->second;
  }

  bool accepts(std::vector<uint32_t> set, bool at_start) {
    if (!set.empty() && set.back() == UINT32_MAX) set.pop_back();
    close(set, at_start, true);
    return std::any_of(set.begin(), set.end(), [&](uint32_t state) { return accepting_[state] != 0; });
  }

  void follow_edges(const std::vector<uint32_t>& set) {
    out_.clear();
    for (const uint32_t state : set) {
      if (state == UINT32_MAX) continue;
      for (uint32_t e = edge_begin_[state]; e < edge_begin_[state + 1]; ++e) out_.push_back(&nfa_.edges[e]);
    }
    if (out_.empty()) return;
    // Between two neighbouring cuts the same edges apply to every symbol.
    std::vector<int> cuts;
    cuts.reserve(out_.size() * 2);
    for (const Nfa::Edge* edge : out_) {
      cuts.push_back(edge->low);
      cuts.push_back(edge->high + 1);
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    std::sort(out_.begin(), out_.end(), [](const Nfa::Edge* a, const Nfa::Edge* b) { return a->low < b->low; });
    std::vector<const Nfa::Edge*> active;
    size_t next = 0;
    for (size_t c = 0; c + 1 < cuts.size(); ++c) {
      const int low = cuts[c], high = cuts[c + 1] - 1;
      while (next < out_.size() && out_[next]->low <= low) active.push_back(out_[next++]);
      std::erase_if(active, [&](const Nfa::Edge* edge) { return edge->high < low; });
      if (active.empty()) continue;
      std::vector<uint32_t> targets;
      for (const Nfa::Edge* edge : active) {
        CHECK(edge->flags == active.front()->flags);  // counting rules are written without such ambiguity
        targets.push_back(edge->to);
      }
      budget_.spend(static_cast<int64_t>(active.size()));
      if (budget_.work < 0 || budget_.states < 0) return;
      const uint32_t to = id_of(std::move(targets), false);
      const uint8_t flags = active.front()->flags;
      if (!dfa_.edges.empty() && dfa_.edges.size() > dfa_.edge_begin.back() && dfa_.edges.back().to == to &&
          dfa_.edges.back().high + 1 == low && dfa_.edges.back().flags == flags) {
        dfa_.edges.back().high = static_cast<uint16_t>(high);
      } else {
        dfa_.edges.push_back({static_cast<uint16_t>(low), static_cast<uint16_t>(high), flags, to});
      }
    }
  }

  void follow_calls(const std::vector<uint32_t>& set) {
    std::map<uint32_t, std::vector<uint32_t>> targets;
    for (const uint32_t state : set) {
      if (state == UINT32_MAX) continue;
      for (uint32_t c = call_begin_[state]; c < call_begin_[state + 1]; ++c) {
        targets[nfa_.calls[c].rule].push_back(nfa_.calls[c].to);
        budget_.spend(4);
      }
    }
    for (auto& [rule, to] : targets) dfa_.calls.push_back({rule, id_of(std::move(to), false)});
  }

  Nfa nfa_;
  CompileBudget& budget_;
  std::vector<uint32_t> edge_begin_, empty_begin_, call_begin_;
  std::vector<uint8_t> accepting_;
  std::vector<uint32_t> mark_;
  uint32_t round_ = 0;
  std::unordered_map<std::vector<uint32_t>, uint32_t, VectorHash> ids_;
  std::vector<const std::vector<uint32_t>*> sets_;
  std::vector<const Nfa::Edge*> out_;
  Dfa dfa_;
};

// States from which an accepting one can be reached, calls taken for passable.
std::vector<uint8_t> live_states(const Dfa& dfa) {
  std::vector<std::pair<uint32_t, uint32_t>> back;  // to, from
  for (uint32_t s = 0; s < dfa.states(); ++s) {
    for (uint32_t e = dfa.edge_begin[s]; e < dfa.edge_begin[s + 1]; ++e) back.emplace_back(dfa.edges[e].to, s);
    for (uint32_t c = dfa.call_begin[s]; c < dfa.call_begin[s + 1]; ++c) back.emplace_back(dfa.calls[c].to, s);
  }
  std::sort(back.begin(), back.end());
  std::vector<uint8_t> live(dfa.accepting);
  std::vector<uint32_t> todo;
  for (uint32_t s = 0; s < dfa.states(); ++s) {
    if (live[s] != 0) todo.push_back(s);
  }
  while (!todo.empty()) {
    const uint32_t to = todo.back();
    todo.pop_back();
    for (auto it = std::lower_bound(back.begin(), back.end(), std::pair(to, 0u)); it != back.end() && it->first == to;
         ++it) {
      if (live[it->second] != 0) continue;
      live[it->second] = 1;
      todo.push_back(it->second);
    }
  }
  return live;
}

// The automaton of classes: state s belongs to class_of[s], dead states to none (UINT32_MAX).
Dfa quotient(const Dfa& dfa, const std::vector<uint32_t>& class_of) {
  Dfa out;
  std::vector<uint32_t> number(dfa.states(), UINT32_MAX), representative;
  const auto number_of = [&](uint32_t state) {
    uint32_t& n = number[class_of[state]];
    if (n == UINT32_MAX) {
      n = static_cast<uint32_t>(representative.size());
      representative.push_back(state);
    }
    return n;
  };
  number_of(0);
  for (size_t i = 0; i < representative.size(); ++i) {
    const uint32_t s = representative[i];
    out.accepting.push_back(dfa.accepting[s]);
    for (uint32_t e = dfa.edge_begin[s]; e < dfa.edge_begin[s + 1]; ++e) {
      const Dfa::Edge& edge = dfa.edges[e];
      if (class_of[edge.to] == UINT32_MAX) continue;
      const uint32_t to = number_of(edge.to);
      if (out.edges.size() > out.edge_begin.back() && out.edges.back().to == to &&
          out.edges.back().high + 1 == edge.low && out.edges.back().flags == edge.flags) {
        out.edges.back().high = edge.high;
      } else {
        out.edges.push_back({edge.low, edge.high, edge.flags, to});
      }
    }
    for (uint32_t c = dfa.call_begin[s]; c < dfa.call_begin[s + 1]; ++c) {
      const Dfa::Call& call = dfa.calls[c];
      if (class_of[call.to] != UINT32_MAX) out.calls.push_back({call.rule, number_of(call.to)});
    }
    out.edge_begin.push_back(static_cast<uint32_t>(out.edges.size()));
    out.call_begin.push_back(static_cast<uint32_t>(out.calls.size()));
  }
  return out;
}

}  // namespace

Error CompileBudget::exceeded() const {
  return {ErrorCode::kExhausted, fmt::format("too large: more than {} states or {} steps of compiling",
                                             kLimits.grammar_states_max, kLimits.grammar_work_max)};
}

const Dfa::Edge* Dfa::find(uint32_t state, int symbol) const {
  const Edge* const begin = edges.data() + edge_begin[state];
  const Edge* const end = edges.data() + edge_begin[state + 1];
  if (end - begin <= 4) {
    for (const Edge* edge = begin; edge != end; ++edge) {
      if (symbol >= edge->low && symbol <= edge->high) return edge;
    }
    return nullptr;
  }
  const Edge* it = std::upper_bound(begin, end, symbol, [](int value, const Edge& edge) { return value < edge.low; });
  if (it == begin) return nullptr;
  --it;
  return symbol <= it->high ? it : nullptr;
}

bool Dfa::matches(std::string_view bytes) const {
  uint32_t state = 0;
  for (const char c : bytes) {
    const Edge* edge = find(state, static_cast<uint8_t>(c));
    if (edge == nullptr) return false;
    state = edge->to;
  }
  return accepting[state] != 0;
}

Result<Dfa> determinise(const Nfa& nfa, CompileBudget& budget) { return Determiniser(nfa, budget).run(); }

Dfa reduce(const Dfa& dfa, CompileBudget& budget) {
  const std::vector<uint8_t> live = live_states(dfa);
  if (live[0] == 0) {
    Dfa none;
    none.edge_begin = none.call_begin = {0, 0};
    none.accepting = {0};
    return none;
  }
  // Moore's refinement: classes of states that no text of `round` symbols tells apart, until nothing changes.
  std::vector<uint32_t> class_of(dfa.states(), UINT32_MAX);
  size_t classes = 0;
  for (uint32_t s = 0; s < dfa.states(); ++s) {
    if (live[s] != 0) class_of[s] = dfa.accepting[s], classes = 2;
  }
  const int64_t round_cost = static_cast<int64_t>(dfa.states() + dfa.edges.size() + dfa.calls.size());
  int64_t allowance = std::min<int64_t>(budget.work / 4, kLimits.grammar_work_max / 8);
  for (size_t before = 0; before != classes;) {
    before = classes;
    allowance -= round_cost;
    if (allowance < 0) {
      // Too dear (long chains need many rounds): only dead states go.
      for (uint32_t s = 0; s < dfa.states(); ++s) class_of[s] = live[s] != 0 ? s : UINT32_MAX;
      break;
    }
    budget.spend(round_cost);
    std::unordered_map<std::vector<uint32_t>, uint32_t, VectorHash> signatures;
    std::vector<uint32_t> next(dfa.states(), UINT32_MAX), signature;
    for (uint32_t s = 0; s < dfa.states(); ++s) {
      if (live[s] == 0) continue;
      signature.assign(1, class_of[s]);
      for (uint32_t e = dfa.edge_begin[s]; e < dfa.edge_begin[s + 1]; ++e) {
        const Dfa::Edge& edge = dfa.edges[e];
        if (live[edge.to] == 0) continue;
        const uint32_t to = class_of[edge.to] * 4 + edge.flags;
        // Ranges that touch and go to the same class are one, so that how they were cut does not show.
        if (signature.size() >= 4 && signature.back() == to &&
            (signature[signature.size() - 2] & 0xffff) + 1 == edge.low) {
          signature[signature.size() - 2] = (signature[signature.size() - 2] & 0xffff0000u) | edge.high;
        } else {
          signature.push_back(0);
          signature.push_back(static_cast<uint32_t>(edge.low) << 16 | edge.high);
          signature.push_back(to);
        }
      }
      for (uint32_t c = dfa.call_begin[s]; c < dfa.call_begin[s + 1]; ++c) {
        if (live[dfa.calls[c].to] == 0) continue;
        signature.push_back(1);
        signature.push_back(dfa.calls[c].rule);
        signature.push_back(class_of[dfa.calls[c].to]);
      }
      next[s] = signatures.try_emplace(signature, static_cast<uint32_t>(signatures.size())).first->second;
    }
    class_of = std::move(next);
    classes = signatures.size();
  }
  return quotient(dfa, class_of);
}

Result<Dfa> combine(const Dfa& a, const Dfa& b, const std::function<bool(bool, bool)>& keep, CompileBudget& budget) {
  constexpr uint32_t kOutside = UINT32_MAX;  // b cannot read on
  Dfa out;
  std::unordered_map<uint64_t, uint32_t> ids;
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  const auto id_of = [&](uint32_t in_a, uint32_t in_b) {
    const uint64_t key = static_cast<uint64_t>(in_a) << 32 | in_b;
    const auto [it, added] = ids.try_emplace(key, static_cast<uint32_t>(pairs.size()));
    if (added) {
      pairs.emplace_back(in_a, in_b);
      --budget.states;
    }
    return it->second;
  };
  id_of(0, 0);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [in_a, in_b] = pairs[i];
    out.accepting.push_back(keep(a.accepting[in_a] != 0, in_b != kOutside && b.accepting[in_b] != 0));
    for (uint32_t e = a.edge_begin[in_a]; e < a.edge_begin[in_a + 1]; ++e) {
      const Dfa::Edge& edge = a.edges[e];
      int low = edge.low;
      while (low <= edge.high) {
        // The longest part of the edge, from low on, that b treats alike.
        int high = edge.high;
        uint32_t to_b = kOutside;
        if (in_b != kOutside) {
          for (uint32_t f = b.edge_begin[in_b]; f < b.edge_begin[in_b + 1]; ++f) {
            const Dfa::Edge& other = b.edges[f];
            if (other.high < low) continue;
            if (other.low > low) {
              high = std::min<int>(high, other.low - 1);
            } else {
              high = std::min<int>(high, other.high);
              to_b = other.to;
            }
            break;
          }
        }
        out.edges.push_back(
            {static_cast<uint16_t>(low), static_cast<uint16_t>(high), edge.flags, id_of(edge.to, to_b)});
        low = high + 1;
      }
    }
    out.edge_begin.push_back(static_cast<uint32_t>(out.edges.size()));
    out.call_begin.push_back(0);
    const int64_t cost = 8 + 2 * (out.edge_begin[i + 1] - out.edge_begin[i]);
    if (!budget.spend(cost) || budget.states < 0) return budget.exceeded();
  }
  return out;
}

bool is_empty(const Dfa& dfa) {
  return std::none_of(dfa.accepting.begin(), dfa.accepting.end(), [](uint8_t accepting) { return accepting != 0; });
}

}  // namespace lapidary
