#include "engine/prompt_pieces.h"

#include <algorithm>

namespace lapidary {

int32_t piece_end(std::span<const MediaSpan> media, bool whole_pictures, int32_t begin, int32_t prompt_tokens,
                  int32_t rows_wanted) {
  const int32_t end = static_cast<int32_t>(std::min<int64_t>(prompt_tokens, static_cast<int64_t>(begin) + rows_wanted));
  if (!whole_pictures) return end;
  for (const MediaSpan& span : media) {
    if (span.input->kind == MediaKind::kAudio || span.begin >= end || span.end <= end) continue;
    return span.begin > begin ? span.begin : span.end;
  }
  return end;
}

}  // namespace lapidary
