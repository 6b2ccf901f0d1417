// Byte-pair merges: which two symbols become one, in which order, and their application to a sequence of symbols.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lapidary {

class MergeTable {
 public:
  void reserve(size_t merges);

  // The next merge: left, right -> result. Its rank is the number of merges added before it; a pair that comes twice
  // keeps the later rank, as in the reference. left_end is the last initial symbol (one character) of left, right_begin
  // the first of right.
  void add(int32_t left, int32_t right, int32_t result, int32_t left_end, int32_t right_begin);

  int32_t size() const { return static_cast<int32_t>(results_.size()); }

  // False: no merge can ever join what ends in the initial symbol left_end to what begins with right_begin, so the text
  // may be cut there and its parts merged on their own. True may be wrong (a hashed filter), which costs only time.
  bool may_join(int32_t left_end, int32_t right_begin) const {
    const uint64_t bit = filter_bit(left_end, right_begin);
    return !joins_.empty() && ((joins_[bit / 64] >> (bit % 64)) & 1u) != 0;
  }

  // Buffers of one apply(), reused from call to call.
  struct Scratch {
    std::vector<int32_t> next, previous;
    std::vector<uint32_t> rank;
    std::vector<uint64_t> heap;
  };

  // Applies, again and again, the merge of smallest rank, leftmost first among equals, until none applies. In place.
  // O(n log n) for n symbols; n < 2^31.
  void apply(std::vector<int32_t>& symbols, Scratch& scratch) const;

 private:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  static constexpr int kFilterBits = 21;
  struct Slot {
    int32_t left = -1, right = -1;  // left < 0: empty
    uint32_t rank = kNoRank;
  };

  static uint64_t filter_bit(int32_t left_end, int32_t right_begin);
  uint32_t find(int32_t left, int32_t right) const;
  void insert(int32_t left, int32_t right, uint32_t rank);
  void rehash(size_t slots);
  void apply_few(std::vector<int32_t>& symbols, Scratch& scratch) const;
  void apply_many(std::vector<int32_t>& symbols, Scratch& scratch) const;

  std::vector<Slot> slots_;       // open addressing, linear probing; a power of two, at least 1.5 times the merges
  std::vector<int32_t> results_;  // by rank
  size_t used_ = 0;
  std::vector<uint64_t> joins_;
};

}  // namespace lapidary
