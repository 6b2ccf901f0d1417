// One forward pass as the operations see it: rows of tokens, where their K and V live, and what each may look at.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/view.h"

namespace lapidary {

enum class AttentionKind : uint8_t { kSliding, kGlobal };
inline constexpr int32_t kAttentionKinds = 2;

inline constexpr int32_t kPagePositions = 32;  // positions in a K/V page, for every layer of its group

// The pages of one sequence in one group: pages[i] holds positions [first_position + 32 i, first_position + 32 (i +
// 1)). first_position is a multiple of 32; earlier pages were released.
struct PageTable {
  std::vector<int32_t> pages;
  int32_t first_position = 0;
};

// The rows of one sequence in a batch.
struct Slice {
  std::array<const PageTable*, kAttentionKinds> tables{};  // indexed by AttentionKind
  int32_t first_row = 0, rows = 0;
  int32_t kv_length = 0;  // positions held after this step, these rows included
  // The rows write no K and V, and each sees the kv_length positions held (sliding: the last window of them), whatever
  // its own position: a drafter's.
  bool borrows = false;
};

// Embedding rows that do not come from the table: soft tokens of a picture, frame or clip.
struct SoftRows {
  int32_t first_row = 0;
  TensorView values;  // [rows, dim], in the backend's memory
};

// One forward pass over any mix of prompt pieces, single tokens, and drafts to verify.
struct Batch {
  std::vector<int32_t> token_ids, positions;  // [rows]
  std::vector<int32_t> block_ends;  // [rows] end of the picture (position, exclusive) the row belongs to; 0: none
  std::vector<Slice> slices;
  std::vector<SoftRows> soft;
  std::vector<int32_t> logit_rows;  // rows whose logits are wanted, ascending

  int32_t rows() const { return static_cast<int32_t>(token_ids.size()); }
};

// Who sees whom (text-model rules): global rows see everything before them; sliding rows the last `sliding_window`
// positions, themselves included, and, where image_tokens_see_each_other, also what follows within the same picture.
struct AttentionRules {
  int32_t sliding_window = 0;
  bool image_tokens_see_each_other = false;
};

// What one row's query may look at: keys at positions [begin, end), always contiguous, through table `table` of the
// plan.
struct AttentionRow {
  int32_t table = 0;
  int32_t position = 0;
  int32_t begin = 0, end = 0;
};

// The attention of one kind for one step; made once, shared by every layer of that kind.
struct AttentionPlan {
  struct Table {
    int32_t first_page = 0;      // index into pages
    int32_t first_position = 0;  // of that page
  };
  AttentionKind kind = AttentionKind::kSliding;
  std::vector<int32_t> pages;  // all tables, one after the other
  std::vector<Table> tables;   // one per slice
  std::vector<AttentionRow> rows;

  // The page that holds `position` of table t; the offset inside it is position % kPagePositions.
  int32_t page_of(int32_t t, int32_t position) const {
    const Table& table = tables[static_cast<size_t>(t)];
    return pages[static_cast<size_t>(table.first_page + (position - table.first_position) / kPagePositions)];
  }
};

// Checks (CHECK) that every key a row may see lies in its table.
AttentionPlan plan_attention(const Batch& batch, AttentionKind kind, const AttentionRules& rules);

}  // namespace lapidary
