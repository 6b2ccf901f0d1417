// Sequence: one request on its way through the engine.
#pragma once

#include <array>
#include <functional>

#include "base/clock.h"
#include "engine/request.h"
#include "ops/batch.h"
#include "text/stop_strings.h"
#include "text/text_stream.h"

namespace lapidary {

struct Sequence {
  Sequence(uint64_t request_id, GenerationRequest asked, std::function<void(const Event&)> to,
           const Tokenizer& tokenizer);

  uint64_t id = 0;
  GenerationRequest request;
  std::function<void(const Event&)> sink;
  std::vector<int32_t> tokens;                    // the prompt, then everything accepted
  int32_t computed = 0;                           // positions whose K and V are held
  std::array<PageTable, kAttentionKinds> tables;  // indexed by AttentionKind
  TextStream text;
  StopStrings stops;
  Usage usage;
  Timing timing;

  int32_t prompt_tokens() const { return static_cast<int32_t>(request.prompt.size()); }
  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  bool in_prompt() const { return computed < prompt_tokens(); }
};

// The rows [begin, end) of a sequence as a batch of one slice; the tables must already have room. soft rows are added
// by the caller. Every row's logits are wanted with all_logits, else the last one's with last_logits.
Batch sequence_batch(const Sequence& sequence, int32_t begin, int32_t end, bool all_logits, bool last_logits);

}  // namespace lapidary
