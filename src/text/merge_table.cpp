#include "text/merge_table.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace lapidary {
namespace {

// Below this, looking for the smallest rank by walking the list is faster than a heap.
constexpr size_t kFewSymbols = 24;

uint64_t hash_pair(int32_t left, int32_t right) {
  return mix64((static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right));
}

}  // namespace

uint64_t MergeTable::filter_bit(int32_t left_end, int32_t right_begin) {
  return hash_pair(left_end, right_begin) >> (64 - kFilterBits);
}

void MergeTable::reserve(size_t merges) {
  results_.reserve(merges);
  const size_t slots = std::bit_ceil(merges + merges / 2 + 16);
  if (slots > slots_.size()) rehash(slots);
}

void MergeTable::add(int32_t left, int32_t right, int32_t result, int32_t left_end, int32_t right_begin) {
  if (joins_.empty()) joins_.resize((size_t{1} << kFilterBits) / 64);
  const uint64_t bit = filter_bit(left_end, right_begin);
  joins_[bit / 64] |= uint64_t{1} << (bit % 64);

  const uint32_t rank = static_cast<uint32_t>(results_.size());
  results_.push_back(result);
  if (3 * (used_ + 1) > 2 * slots_.size()) rehash(std::max<size_t>(64, 2 * slots_.size()));
  insert(left, right, rank);
}

uint32_t MergeTable::find(int32_t left, int32_t right) const {
  if (slots_.empty()) return kNoRank;
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash_pair(left, right) & mask; slots_[i].left >= 0; i = (i + 1) & mask) {
    if (slots_[i].left == left && slots_[i].right == right) return slots_[i].rank;
  }
  return kNoRank;
}

void MergeTable::insert(int32_t left, int32_t right, uint32_t rank) {
  const size_t mask = slots_.size() - 1;
  size_t i = hash_pair(left, right) & mask;
  for (; slots_[i].left >= 0; i = (i + 1) & mask) {
    if (slots_[i].left == left && slots_[i].right == right) {
      slots_[i].rank = rank;
      return;
    }
  }
  slots_[i] = {left, right, rank};
  ++used_;
}

void MergeTable::rehash(size_t slots) {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
  used_ = 0;
  for (const Slot& slot : old) {
    if (slot.left >= 0) insert(slot.left, slot.right, slot.rank);
  }
}

void MergeTable::apply(std::vector<int32_t>& symbols, Scratch& scratch) const {
  if (symbols.size() < 2) return;
  CHECK(symbols.size() < (size_t{1} << 31));
  symbols.size() <= kFewSymbols ? apply_few(symbols, scratch) : apply_many(symbols, scratch);
}

// rank[i] is the rank of the pair (symbols[i], symbols[i + 1]); symbols move together as pairs merge.
void MergeTable::apply_few(std::vector<int32_t>& symbols, Scratch& scratch) const {
  std::vector<uint32_t>& rank = scratch.rank;
  rank.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) rank.push_back(find(symbols[i], symbols[i + 1]));
  while (!rank.empty()) {
    const auto best = std::min_element(rank.begin(), rank.end());  // the first among equals
    if (*best == kNoRank) return;
    const size_t i = static_cast<size_t>(best - rank.begin());
    symbols[i] = results_[*best];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    rank.erase(best);
    if (i > 0) rank[i - 1] = find(symbols[i - 1], symbols[i]);
    if (i < rank.size()) rank[i] = find(symbols[i], symbols[i + 1]);
  }
}

// A linked list of symbols and a heap of (rank, position). An entry of the heap is stale when the pair that now starts
// at its position has another rank.
void MergeTable::apply_many(std::vector<int32_t>& symbols, Scratch& scratch) const {
  const int32_t count = static_cast<int32_t>(symbols.size());
  std::vector<int32_t>&next = scratch.next, &previous = scratch.previous;
  std::vector<uint32_t>& rank = scratch.rank;
  std::vector<uint64_t>& heap = scratch.heap;
  next.resize(symbols.size());
  previous.resize(symbols.size());
  rank.assign(symbols.size(), kNoRank);
  heap.clear();
  const auto entry = [](uint32_t of_rank, int32_t at) {
    return (static_cast<uint64_t>(of_rank) << 32) | static_cast<uint32_t>(at);
  };
  for (int32_t i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(i);
    next[at] = i + 1;
    previous[at] = i - 1;
    if (i + 1 == count) break;
    rank[at] = find(symbols[at], symbols[at + 1]);
    if (rank[at] != kNoRank) heap.push_back(entry(rank[at], i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  const auto rank_again = [&](int32_t at) {
    const size_t i = static_cast<size_t>(at);
    rank[i] = next[i] == count ? kNoRank : find(symbols[i], symbols[static_cast<size_t>(next[i])]);
    if (rank[i] == kNoRank) return;
    heap.push_back(entry(rank[i], at));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint32_t best = static_cast<uint32_t>(heap.back() >> 32);
    const int32_t at = static_cast<int32_t>(static_cast<uint32_t>(heap.back()));
    heap.pop_back();
    const size_t i = static_cast<size_t>(at);
    if (rank[i] != best) continue;

    const size_t gone = static_cast<size_t>(next[i]);
    symbols[i] = results_[best];
    rank[gone] = kNoRank;
    next[i] = next[gone];
    if (next[i] != count) previous[static_cast<size_t>(next[i])] = at;
    rank_again(at);
    if (previous[i] >= 0) rank_again(previous[i]);
  }

  size_t kept = 0;
  for (int32_t i = 0; i != count; i = next[static_cast<size_t>(i)]) symbols[kept++] = symbols[static_cast<size_t>(i)];
  symbols.resize(kept);
}

}  // namespace lapidary
