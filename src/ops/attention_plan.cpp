#include <algorithm>

#include "base/check.h"
#include "ops/batch.h"

namespace lapidary {

AttentionPlan plan_attention(const Batch& batch, AttentionKind kind, const AttentionRules& rules) {
  AttentionPlan plan;
  plan.kind = kind;
  plan.rows.resize(batch.token_ids.size());
  const bool sliding = kind == AttentionKind::kSliding;
  for (const Slice& slice : batch.slices) {
    const PageTable& table = *slice.tables[static_cast<size_t>(kind)];
    const int32_t t = static_cast<int32_t>(plan.tables.size());
    plan.tables.push_back({static_cast<int32_t>(plan.pages.size()), table.first_position});
    plan.pages.insert(plan.pages.end(), table.pages.begin(), table.pages.end());
    const int32_t held_end = table.first_position + static_cast<int32_t>(table.pages.size()) * kPagePositions;
    CHECK(slice.kv_length <= held_end);
    for (int32_t r = slice.first_row; r < slice.first_row + slice.rows; ++r) {
      const int32_t position = batch.positions[static_cast<size_t>(r)];
      AttentionRow row{t, position, 0, position + 1};
      if (slice.borrows) {
        row.begin = sliding ? std::max(0, slice.kv_length - rules.sliding_window) : 0;
        row.end = slice.kv_length;
      } else if (sliding) {
        row.begin = std::max(0, position - rules.sliding_window + 1);
        if (rules.image_tokens_see_each_other) row.end = std::max(row.end, batch.block_ends[static_cast<size_t>(r)]);
      }
      CHECK(row.begin >= table.first_position && row.end <= slice.kv_length);
      plan.rows[static_cast<size_t>(r)] = row;
    }
  }
  return plan;
}

}  // namespace lapidary
