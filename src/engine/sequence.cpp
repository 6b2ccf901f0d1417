#include "engine/sequence.h"

#include <algorithm>

namespace lapidary {

Sequence::Sequence(uint64_t request_id, GenerationRequest asked, std::function<void(const Event&)> to,
                   const Tokenizer& tokenizer)
    : id(request_id),
      request(std::move(asked)),
      sink(std::move(to)),
      tokens(request.prompt),
      text(tokenizer),
      stops(request.stop) {
  usage.prompt_tokens = prompt_tokens();
  for (const MediaSpan& span : request.media) {
    const int32_t rows = span.end - span.begin;
    switch (span.input->kind) {
      case MediaKind::kImage:
        usage.image_tokens += rows;
        break;
      case MediaKind::kVideo:
        usage.video_tokens += rows;
        break;
      case MediaKind::kAudio:
        usage.audio_tokens += rows;
        break;
    }
  }
}

Batch sequence_batch(const Sequence& sequence, int32_t begin, int32_t end, bool all_logits, bool last_logits) {
  Batch batch;
  for (int32_t position = begin; position < end; ++position) {
    batch.token_ids.push_back(sequence.token_at(position));
    batch.positions.push_back(position);
    if (all_logits || (last_logits && position == end - 1)) batch.logit_rows.push_back(position - begin);
  }
  batch.block_ends.assign(batch.token_ids.size(), 0);
  for (const MediaSpan& span : sequence.request.media) {
    if (span.input->kind == MediaKind::kAudio) continue;  // sound stays causal
    for (int32_t position = std::max(span.begin, begin); position < std::min(span.end, end); ++position) {
      batch.block_ends[static_cast<size_t>(position - begin)] = span.end;
    }
  }
  Slice slice;
  slice.tables = {&sequence.tables[0], &sequence.tables[1]};
  slice.rows = end - begin;
  slice.kv_length = end;
  batch.slices.push_back(slice);
  return batch;
}

}  // namespace lapidary
