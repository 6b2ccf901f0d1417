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
  int32_t computed = 0;                           // positions whose K and V are held and whose tokens are certain
  std::vector<int32_t> drafts;                    // proposed to follow tokens, not yet verified
  int32_t draft_tokens = 0;                       // how many to propose next
  std::array<PageTable, kAttentionKinds> tables;  // indexed by AttentionKind
  TextStream text;
  StopStrings stops;
  Usage usage;
  Timing timing;
  SpeculationReport speculation;

  int32_t prompt_tokens() const { return static_cast<int32_t>(request.prompt.size()); }
  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  // At a position of tokens, or after them of drafts.
  int32_t token_at(int32_t position) const {
    return position < length() ? tokens[static_cast<size_t>(position)]
                               : drafts[static_cast<size_t>(position - length())];
  }
  bool in_prompt() const { return computed < prompt_tokens(); }
};

// The rows [begin, end) of a sequence as a batch of one slice; the tables must already have room. soft rows are added
// by the caller. Every row's logits are wanted with all_logits, else the last one's with last_logits.
Batch sequence_batch(const Sequence& sequence, int32_t begin, int32_t end, bool all_logits, bool last_logits);

}  // namespace lapidary
