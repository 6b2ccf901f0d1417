#include "engine/prompt_pieces.h"

#include <algorithm>

namespace lapidary {

int32_t piece_end(std::span<const Block> blocks, int32_t begin, int32_t prompt_tokens, int32_t rows_wanted) {
  const int32_t end = static_cast<int32_t>(std::min<int64_t>(prompt_tokens, static_cast<int64_t>(begin) + rows_wanted));
  for (const Block& block : blocks) {
    if (block.begin >= end || block.end <= end) continue;
    return block.begin > begin ? block.begin : block.end;
  }
  return end;
}

}  // namespace lapidary
