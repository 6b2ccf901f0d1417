#include "grammar/matcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/limits.h"

namespace lapidary {
namespace {

constexpr size_t kMasksKept = 64;  // positions of one answer whose masks are remembered

}  // namespace

GrammarMatcher::GrammarMatcher(GrammarPtr grammar, std::shared_ptr<MaskLibrary> library)
    : library_(std::move(library)), shared_(std::make_shared<Shared>(std::move(grammar))) {
  const Grammar& found = shared_->frames.grammar();
  shared_->leaves.resize(found.rules().size());
  for (const std::string& marker : found.markers()) marker_tokens_.push_back(library_->trie().marker(marker));
  position_ = shared_->frames.start();
}

int GrammarMatcher::symbol_of(int32_t token) const {
  const auto it = std::find(marker_tokens_.begin(), marker_tokens_.end(), token);
  return it == marker_tokens_.end() ? -1 : kFirstMarker + static_cast<int>(it - marker_tokens_.begin());
}

int64_t GrammarMatcher::mask(std::span<uint64_t> mask) {
  const TokenTrie& trie = library_->trie();
  CHECK(mask.size() == trie.mask_words());
  if (ended_) {
    std::fill(mask.begin(), mask.end(), 0);
    return 0;
  }
  auto known = shared_->masks.find(position_.items);
  if (known == shared_->masks.end()) {
    if (shared_->masks.size() >= kMasksKept) shared_->masks.clear();
    std::vector<uint64_t> made(mask.size(), 0);
    Frames& frames = shared_->frames;
    const size_t mark = frames.mark();
    GrammarPosition others;  // items that are not inside a leaf: their masks are narrow and depend on what is around
    for (const GrammarItem& item : position_.items) {
      if (frames.grammar().rules()[frames.grammar().rule_of(item.state)].leaf) {
        add_leaf(item, made);
      } else {
        others.items.push_back(item);
      }
    }
    if (!others.items.empty()) walk(others, 0, made);
    GrammarPosition after;
    for (size_t m = 0; m < marker_tokens_.size(); ++m) {
      if (marker_tokens_[m] < 0) continue;
      frames.step(position_, kFirstMarker + static_cast<int>(m), after);
      if (!after.items.empty() || after.can_end) set_bit(made, marker_tokens_[m]);
    }
    frames.release(mark);
    known = shared_->masks.emplace(position_.items, std::move(made)).first;
  }
  std::copy(known->second.begin(), known->second.end(), mask.begin());
  if (position_.can_end) {
    for (const int32_t token : trie.end_tokens()) set_bit(mask, token);
  }
  int64_t allowed = 0;
  for (const uint64_t word : mask) allowed += std::popcount(word);
  return allowed;
}

void GrammarMatcher::add_leaf(const GrammarItem& item, std::span<uint64_t> mask) {
  Frames& frames = shared_->frames;
  const TokenTrie& trie = library_->trie();
  const uint32_t rule_number = frames.grammar().rule_of(item.state);
  const Grammar::Rule& rule = frames.grammar().rules()[rule_number];
  std::shared_ptr<LeafMasks>& leaf = shared_->leaves[rule_number];
  if (!leaf) leaf = library_->leaf(frames.grammar(), rule_number);
  const LeafMask& inside = leaf->mask(trie, item.state - rule.start);

  const int64_t room = rule.count_max >= 0 ? rule.count_max - item.count : INT32_MAX;
  const int64_t counts = static_cast<int64_t>(inside.begin.size()) - 1;  // tokens count 0 to counts - 1 times
  if (counts <= 0 || room >= counts - 1) {
    for (size_t i = 0; i < mask.size(); ++i) mask[i] |= inside.inside[i];
  } else {
    const uint32_t fitting = inside.begin[static_cast<size_t>(room) + 1];
    if (fitting * 2 < inside.by_count.size()) {
      for (uint32_t i = 0; i < fitting; ++i) set_bit(mask, inside.by_count[i]);
    } else {
      std::vector<uint64_t> fits = inside.inside;
      for (size_t i = fitting; i < inside.by_count.size(); ++i) {
        const auto token = static_cast<size_t>(inside.by_count[i]);
        fits[token / 64] &= ~(1ull << (token % 64));
      }
      for (size_t i = 0; i < mask.size(); ++i) mask[i] |= fits[i];
    }
  }

  GrammarPosition after;
  frames.leave(item, after);
  for (const LeafMask::Pop& pop : inside.pops) {
    if (pop.counted > room || item.count + pop.counted < rule.count_min) continue;
    for (const int32_t token : trie.tokens_at(pop.node)) set_bit(mask, token);
    if (!after.items.empty()) walk(after, pop.node, mask);
  }
}

// Allows the tokens below node that can be read from `from`, which stands at node.
void GrammarMatcher::walk(const GrammarPosition& from, uint32_t node, std::span<uint64_t> mask) {
  const TokenTrie& trie = library_->trie();
  const std::vector<TokenTrie::Node>& nodes = trie.nodes();
  const uint32_t base = nodes[node].depth, end = nodes[node].end;
  if (end <= node + 1) return;
  std::vector<GrammarPosition>& levels = shared_->levels;
  if (levels.empty()) levels.resize(static_cast<size_t>(trie.depth()) + 1);
  levels[0] = from;
  for (uint32_t n = node + 1; n < end;) {
    const TokenTrie::Node& here = nodes[n];
    GrammarPosition& to = levels[here.depth - base];
    shared_->frames.step(levels[here.depth - base - 1], here.byte, to);
    if (to.items.empty() && !to.can_end) {
      n = here.end;
      continue;
    }
    for (const int32_t token : trie.tokens_at(n)) set_bit(mask, token);
    n = to.items.empty() ? here.end : n + 1;
  }
}

bool GrammarMatcher::read(std::string_view text, GrammarPosition& position) {
  GrammarPosition next;
  for (const char c : text) {
    shared_->frames.step(position, static_cast<uint8_t>(c), next);
    if (next.items.empty() && !next.can_end) return false;
    std::swap(position, next);
  }
  return true;
}

bool GrammarMatcher::allows(int32_t token) {
  if (ended_) return false;
  if (library_->trie().is_end(token) && position_.can_end) return true;
  const size_t mark = shared_->frames.mark();
  GrammarPosition position = position_;
  bool possible = false;
  if (const int symbol = symbol_of(token); symbol >= 0) {
    GrammarPosition next;
    shared_->frames.step(position, symbol, next);
    possible = !next.items.empty() || next.can_end;
  } else {
    const std::string_view text = library_->trie().text(token);
    possible = !text.empty() && read(text, position);
  }
  shared_->frames.release(mark);
  return possible;
}

bool GrammarMatcher::advance(int32_t token) {
  if (!allows(token)) return false;
  history_.push_back({position_, ended_});
  if (history_.size() > static_cast<size_t>(kLimits.grammar_rollback_tokens_max)) history_.pop_front();
  if (const int symbol = symbol_of(token); symbol >= 0) {
    GrammarPosition next;
    shared_->frames.step(position_, symbol, next);
    if (!next.items.empty() || next.can_end) return position_ = std::move(next), true;
  }
  GrammarPosition next = position_;
  if (const std::string_view text = library_->trie().text(token); !text.empty() && read(text, next)) {
    position_ = std::move(next);
  } else {
    ended_ = true;
  }
  return true;
}

bool GrammarMatcher::advance_text(std::string_view text) {
  const size_t mark = shared_->frames.mark();
  GrammarPosition next = position_;
  if (ended_ || !read(text, next)) return shared_->frames.release(mark), false;
  history_.clear();
  position_ = std::move(next);
  return true;
}

Result<void> GrammarMatcher::rollback(int32_t tokens) {
  if (tokens < 0 || static_cast<size_t>(tokens) > history_.size()) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("grammar: cannot take back {} tokens, {} are remembered", tokens, history_.size())};
  }
  if (tokens == 0) return {};
  const size_t kept = history_.size() - static_cast<size_t>(tokens);
  position_ = std::move(history_[kept].position);
  ended_ = history_[kept].ended;
  history_.resize(kept);
  return {};
}

std::vector<ForcedPiece> GrammarMatcher::forced(int32_t bytes_max) {
  std::vector<ForcedPiece> pieces;
  if (ended_) return pieces;
  Frames& frames = shared_->frames;
  const size_t mark = frames.mark();
  GrammarPosition here = position_, after;
  for (int32_t bytes = 0; bytes < bytes_max && !here.can_end && !here.items.empty();) {
    // One symbol at most: the edges of all items agree on it.
    int only = -1;
    bool one = true;
    const Dfa& automaton = frames.grammar().automaton();
    for (const GrammarItem& item : here.items) {
      for (uint32_t e = automaton.edge_begin[item.state]; one && e < automaton.edge_begin[item.state + 1]; ++e) {
        const Dfa::Edge& edge = automaton.edges[e];
        GrammarPosition single;
        single.items.push_back(item);
        frames.step(single, edge.low, after);
        if (after.items.empty() && !after.can_end) continue;  // its counter forbids it
        one = edge.low == edge.high && (only < 0 || only == edge.low);
        only = edge.low;
      }
    }
    if (!one || only < 0) break;
    frames.step(here, only, after);
    std::swap(here, after);
    if (only >= kFirstMarker) {
      const int32_t token = marker_tokens_[static_cast<size_t>(only - kFirstMarker)];
      if (token < 0) break;
      pieces.push_back({token, {}});
    } else {
      if (pieces.empty() || pieces.back().token >= 0) pieces.push_back({});
      pieces.back().bytes += static_cast<char>(only);
    }
    ++bytes;
  }
  frames.release(mark);
  return pieces;
}

std::vector<int32_t> GrammarMatcher::forced_tokens(const Tokenizer& tokenizer, int32_t bytes_max) {
  const std::vector<ForcedPiece> pieces = forced(bytes_max);
  std::vector<EncodeItem> items;
  items.reserve(pieces.size());
  for (const ForcedPiece& piece : pieces) items.push_back({piece.token, piece.bytes});
  return tokenizer.encode_runs(items);
}

}  // namespace lapidary
