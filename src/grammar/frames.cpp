#include "grammar/frames.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/rng.h"

namespace lapidary {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

}  // namespace

Frames::Frames(GrammarPtr grammar) : grammar_(std::move(grammar)) {
  sets_.push_back({0, 0, 0, 0, kNone});  // set 0: nothing to return to
}

int32_t Frames::depth_of(const GrammarItem& item) const {
  return sets_[item.returns].depth + (grammar_->rules()[grammar_->rule_of(item.state)].container ? 1 : 0);
}

bool Frames::within_depth(const GrammarItem& item) const {
  return depth_of(item) + grammar_->height(item.state) <= kLimits.grammar_depth_max;
}

uint32_t Frames::intern(std::vector<GrammarItem>& items) {
  merge(items);
  uint64_t hash = items.size();
  for (const GrammarItem& item : items) {
    hash = mix64(hash ^ (static_cast<uint64_t>(item.state) << 32 | item.returns));
    hash = mix64(hash + static_cast<uint64_t>(item.count));
  }
  const auto [head, added] = by_hash_.try_emplace(hash, kNone);
  for (uint32_t set = head->second; set != kNone; set = sets_[set].older) {
    const std::span<const GrammarItem> known = this->items(set);
    if (std::equal(known.begin(), known.end(), items.begin(), items.end())) return set;
  }
  Set set{static_cast<uint32_t>(items_.size()), 0, 0, hash, head->second};
  for (const GrammarItem& item : items) {
    set.depth = std::max(set.depth, depth_of(item));
    items_.push_back(item);
  }
  set.end = static_cast<uint32_t>(items_.size());
  sets_.push_back(set);
  head->second = static_cast<uint32_t>(sets_.size() - 1);
  return head->second;
}

void Frames::release(size_t mark) {
  CHECK(mark >= 1 && mark <= sets_.size());
  while (sets_.size() > mark) {
    const Set& set = sets_.back();
    items_.resize(set.begin);
    if (set.older == kNone) {
      by_hash_.erase(set.hash);
    } else {
      by_hash_[set.hash] = set.older;
    }
    sets_.pop_back();
  }
}

// One item for each (state, count): ways back of equal ones are united, which says the same texts.
void Frames::merge(std::vector<GrammarItem>& items) {
  if (items.size() < 2) return;
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  size_t kept = 0;
  for (size_t i = 0; i < items.size();) {
    size_t end = i + 1;
    while (end < items.size() && items[end].state == items[i].state && items[end].count == items[i].count) ++end;
    GrammarItem item = items[i];
    if (end - i > 1) {
      std::vector<GrammarItem> united;
      for (size_t j = i; j < end; ++j) {
        const std::span<const GrammarItem> part = this->items(items[j].returns);
        united.insert(united.end(), part.begin(), part.end());
      }
      item.returns = intern(united);
    }
    items[kept++] = item;
    i = end;
  }
  items.resize(kept);
}

// Follows completed rules back and calls forward, until every item waits for a symbol.
void Frames::settle(GrammarPosition& position) {
  const Dfa& automaton = grammar_->automaton();
  std::vector<GrammarItem>& items = position.items;
  std::vector<uint32_t> left;  // sets already returned to
  for (size_t i = 0; i < items.size(); ++i) {
    const GrammarItem item = items[i];
    if (automaton.accepting[item.state] == 0) continue;
    if (item.count < grammar_->rules()[grammar_->rule_of(item.state)].count_min) continue;
    if (item.returns == 0) {
      position.can_end = true;
      continue;
    }
    if (std::find(left.begin(), left.end(), item.returns) != left.end()) continue;
    left.push_back(item.returns);
    const std::span<const GrammarItem> back = this->items(item.returns);
    items.insert(items.end(), back.begin(), back.end());
  }
  merge(items);
  std::vector<std::pair<uint32_t, GrammarItem>> calls;  // rule, where it returns to
  for (const GrammarItem& item : items) {
    for (uint32_t c = automaton.call_begin[item.state]; c < automaton.call_begin[item.state + 1]; ++c) {
      const GrammarItem after{automaton.calls[c].to, item.count, item.returns};
      if (within_depth(after)) calls.emplace_back(automaton.calls[c].rule, after);
    }
  }
  std::sort(calls.begin(), calls.end());
  for (size_t i = 0; i < calls.size();) {
    const uint32_t rule = calls[i].first;
    std::vector<GrammarItem> callers;
    for (; i < calls.size() && calls[i].first == rule; ++i) callers.push_back(calls[i].second);
    const GrammarItem inside{grammar_->rules()[rule].start, 0, intern(callers)};
    if (within_depth(inside)) items.push_back(inside);
  }
  std::erase_if(items, [&](const GrammarItem& item) {
    return automaton.edge_begin[item.state] == automaton.edge_begin[item.state + 1];
  });
  merge(items);
}

GrammarPosition Frames::start() {
  GrammarPosition position;
  position.items.push_back({grammar_->rules()[grammar_->root()].start, 0, 0});
  settle(position);
  return position;
}

void Frames::step(const GrammarPosition& from, int symbol, GrammarPosition& out) {
  const Dfa& automaton = grammar_->automaton();
  out.items.clear();
  out.can_end = false;
  bool settled = true;
  for (const GrammarItem& item : from.items) {
    const Dfa::Edge* edge = automaton.find(item.state, symbol);
    if (edge == nullptr) continue;
    GrammarItem next{edge->to, item.count, item.returns};
    if (edge->flags != 0) {
      const Grammar::Rule& rule = grammar_->rules()[grammar_->rule_of(item.state)];
      if ((edge->flags & kNeedsEnough) != 0 && item.count < rule.count_min) continue;
      if ((edge->flags & kCounts) != 0) {
        if (rule.count_max >= 0 && item.count >= rule.count_max) continue;
        // Beyond the minimum an unbounded count says nothing more: it stays, so that positions recur.
        if (rule.count_max >= 0 || item.count < rule.count_min) ++next.count;
      }
    }
    if (grammar_->height(next.state) > 0 && !within_depth(next)) continue;
    settled = settled && automaton.accepting[next.state] == 0 &&
              automaton.call_begin[next.state] == automaton.call_begin[next.state + 1];
    out.items.push_back(next);
  }
  if (out.items.size() > 1 || !settled) settle(out);
}

void Frames::leave(const GrammarItem& item, GrammarPosition& out) {
  out.items.clear();
  out.can_end = item.returns == 0;
  const std::span<const GrammarItem> back = items(item.returns);
  out.items.assign(back.begin(), back.end());
  settle(out);
}

}  // namespace lapidary
