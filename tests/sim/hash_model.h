// A model that hashes what it sees. Three layers, sliding, global and sliding, whose K is a hash of the stream and
// whose attention is a sum of hashes over exactly the positions a Gemma row may look at; so a key that is missing,
// stale, of another sequence or one too many changes everything after it. Kept in the pages it is given, like the real
// one.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "engine/scheduler.h"

namespace lapidary::sim {

inline constexpr int32_t kLayers = 3;
inline constexpr AttentionKind layer_kind(int32_t layer) {
  return layer == 1 ? AttentionKind::kGlobal : AttentionKind::kSliding;
}

struct Range {
  int32_t begin = 0, end = 0;
};

// What the row at `position` of a layer may look at.
inline Range seen(int32_t layer, int32_t position, int32_t window, std::span<const Block> blocks) {
  Range range{0, position + 1};
  if (layer_kind(layer) == AttentionKind::kGlobal) return range;
  range.begin = std::max(0, position - window + 1);
  for (const Block& block : blocks) {
    if (block.begin <= position && position < block.end) range.end = block.end;
  }
  return range;
}

inline uint64_t key_of(int32_t layer, int32_t position, uint64_t stream) {
  return hash_counter(stream, static_cast<uint64_t>(layer), static_cast<uint64_t>(position));
}
inline uint64_t next_stream(uint64_t stream, uint64_t seen_sum) { return mix64(stream ^ mix64(seen_sum + 1)); }

// One step's rows through the layers. key(layer, row) is the cell of a row's own key; sum(layer, row) adds the keys the
// row sees. stream: of each row.
inline void run_layers(std::span<const int32_t> positions, std::vector<uint64_t>& stream,
                       const std::function<uint64_t&(int32_t layer, size_t row)>& key,
                       const std::function<uint64_t(int32_t layer, size_t row)>& sum) {
  for (int32_t layer = 0; layer < kLayers; ++layer) {
    for (size_t r = 0; r < stream.size(); ++r) key(layer, r) = key_of(layer, positions[r], stream[r]);
    std::vector<uint64_t> sums(stream.size());
    for (size_t r = 0; r < stream.size(); ++r) sums[r] = sum(layer, r);
    for (size_t r = 0; r < stream.size(); ++r) stream[r] = next_stream(stream[r], sums[r]);
  }
}

// The same, with keys in K/V pages.
class PagedModel {
 public:
  PagedModel(std::array<int32_t, kAttentionKinds> pages, int32_t window) : window_(window) {
    for (int32_t layer = 0; layer < kLayers; ++layer)
      keys_[static_cast<size_t>(layer)].resize(
          static_cast<size_t>(pages[static_cast<size_t>(layer_kind(layer))] * kPagePositions));
  }

  // Streams after the last layer, one for each row of the slice after the other. word(sequence, position): what stands
  // there, drafts included.
  std::vector<uint64_t> forward(std::span<const StepSlice> slices,
                                const std::function<PositionWord(const ScheduledSequence&, int32_t position)>& word) {
    std::vector<int32_t> positions;
    std::vector<const ScheduledSequence*> owner;
    std::vector<uint64_t> stream;
    for (const StepSlice& slice : slices) {
      for (int32_t position = slice.begin; position < slice.end + slice.drafts; ++position) {
        positions.push_back(position);
        owner.push_back(slice.sequence);
        stream.push_back(word(*slice.sequence, position));
      }
    }
    run_layers(
        positions, stream, [&](int32_t layer, size_t r) -> uint64_t& { return cell(layer, *owner[r], positions[r]); },
        [&](int32_t layer, size_t r) {
          const Range range = seen(layer, positions[r], window_, owner[r]->blocks);
          uint64_t sum = 0;
          for (int32_t p = range.begin; p < range.end; ++p) sum += cell(layer, *owner[r], p);
          return sum;
        });
    return stream;
  }

 private:
  uint64_t& cell(int32_t layer, const ScheduledSequence& sequence, int32_t position) {
    const PageTable& table = sequence.tables[static_cast<size_t>(layer_kind(layer))];
    CHECK(position >= table.first_position);
    const size_t index = static_cast<size_t>((position - table.first_position) / kPagePositions);
    CHECK(index < table.pages.size());
    return keys_[static_cast<size_t>(layer)]
                [static_cast<size_t>(table.pages[index] * kPagePositions + position % kPagePositions)];
  }

  int32_t window_;
  std::array<std::vector<uint64_t>, kLayers> keys_;
};

// The oracle: one sequence alone, no pages, the prompt at once and then a token at a time.
class PlainModel {
 public:
  PlainModel(int32_t window, std::span<const Block> blocks) : window_(window), blocks_(blocks) {}

  // The last row's stream after these words follow those before.
  uint64_t append(std::span<const PositionWord> words) {
    const size_t held = keys_[0].size();
    std::vector<int32_t> positions;
    std::vector<uint64_t> stream(words.begin(), words.end());
    for (size_t r = 0; r < words.size(); ++r) positions.push_back(static_cast<int32_t>(held + r));
    for (auto& keys : keys_) keys.resize(held + words.size());
    run_layers(
        positions, stream,
        [&](int32_t layer, size_t r) -> uint64_t& { return keys_[static_cast<size_t>(layer)][held + r]; },
        [&](int32_t layer, size_t r) {
          const Range range = seen(layer, positions[r], window_, blocks_);
          uint64_t sum = 0;
          for (int32_t p = range.begin; p < range.end; ++p)
            sum += keys_[static_cast<size_t>(layer)][static_cast<size_t>(p)];
          return sum;
        });
    return stream.back();
  }

 private:
  int32_t window_;
  std::span<const Block> blocks_;
  std::array<std::vector<uint64_t>, kLayers> keys_;
};

}  // namespace lapidary::sim
