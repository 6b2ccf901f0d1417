#include "engine/sequence.h"

#include <algorithm>

#include "base/rng.h"
#include "engine/soft_token_cache.h"

namespace lapidary {
namespace {

// Apart from every token's id.
constexpr PositionWord kMediaWord = 1ull << 63;

std::vector<PositionWord> words_of(const GenerationRequest& request) {
  std::vector<PositionWord> words(request.prompt.begin(), request.prompt.end());
  for (const MediaSpan& span : request.media) {
    const uint64_t identity = media_identity(*span.input);
    for (int32_t position = span.begin; position < span.end; ++position) {
      words[static_cast<size_t>(position)] =
          kMediaWord | hash_counter(identity, static_cast<uint64_t>(position - span.begin), 0);
    }
  }
  return words;
}

}  // namespace

Sequence::Sequence(uint64_t sequence_id, GenerationRequest asked, std::vector<int32_t> end_tokens_of_answer,
                   TokenConstraint* constraint, const Tokenizer& tokenizer, const GenerationDefaults& model)
    : request(std::move(asked)),
      end_tokens(std::move(end_tokens_of_answer)),
      tokens(request.prompt),
      text(tokenizer),
      stops(request.stop),
      rules(request, end_tokens, constraint, model) {
  if (request.break_repetition && !request.ignore_eos) loops.emplace();
  id = sequence_id;
  words = words_of(request);
  turn_end = prompt_tokens();
  head_end = std::clamp(request.head_tokens, 0, turn_end);
  uses_prefixes = request.use_prefix_cache;
  salt = request.cache_salt;
  resume_max = request.prompt_logprobs ? 0 : prompt_tokens();
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

void Sequence::accept(int32_t token) {
  tokens.push_back(token);
  words.push_back(static_cast<PositionWord>(token));
  rules.accept(token);
  ++usage.completion_tokens;
}

void Sequence::drop_drafts() {
  drafts.clear();
  drafts_wanted = 0;
}

int32_t append_slice(Batch& batch, const StepSlice& slice, int32_t pad_id) {
  const Sequence& s = static_cast<const Sequence&>(*slice.sequence);
  const int32_t first_row = batch.rows(), first_logits = static_cast<int32_t>(batch.logit_rows.size());
  const int32_t end = slice.end + slice.drafts;
  for (int32_t position = slice.begin; position < end; ++position) {
    if (s.is_scored(position) || s.is_drawn_from(position)) batch.logit_rows.push_back(batch.rows());
    batch.token_ids.push_back(s.token_at(position));
    batch.positions.push_back(position);
  }
  batch.block_ends.resize(batch.token_ids.size(), 0);
  for (const MediaSpan& span : s.request.media) {
    for (int32_t position = std::max(span.begin, slice.begin); position < std::min(span.end, end); ++position) {
      const size_t row = static_cast<size_t>(first_row + position - slice.begin);
      batch.token_ids[row] = pad_id;
      if (span.input->kind != MediaKind::kAudio) batch.block_ends[row] = span.end;  // sound stays causal
    }
  }
  Slice rows;
  rows.tables = {&s.tables[0], &s.tables[1]};
  rows.first_row = first_row;
  rows.rows = end - slice.begin;
  rows.kv_length = end;
  batch.slices.push_back(rows);
  return first_logits;
}

}  // namespace lapidary
