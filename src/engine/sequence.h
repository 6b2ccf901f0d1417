// Sequence: one answer on its way through the engine.
#pragma once

#include <array>
#include <functional>

#include "base/clock.h"
#include "engine/draft_depth.h"
#include "engine/logit_rules.h"
#include "engine/request.h"
#include "engine/scheduler.h"
#include "grammar/repetition_guard.h"
#include "ops/batch.h"
#include "text/stop_strings.h"
#include "text/text_stream.h"

namespace lapidary {

// What is known of an answer's drafts; see engine/speculation.h.
struct DraftingState {
  DraftHistory history, forced_history;  // of a drafter's, of a grammar's
  DraftProbe probe;
  int32_t depth = 0;    // of the last drafts that a drafter made
  bool forced = false;  // the drafts are a grammar's
};

// The base is what the scheduler knows; words there follow tokens here.
struct Sequence : ScheduledSequence {
  // end_tokens: what ends the answer.
  Sequence(uint64_t sequence_id, GenerationRequest asked, std::vector<int32_t> end_tokens_of_answer,
           TokenConstraint* constraint, const Tokenizer& tokenizer, const GenerationDefaults& model);

  uint64_t request_id = 0;  // that of the first choice's sequence
  int32_t choice = 0;
  GenerationRequest request;
  std::function<void(const Event&)> sink;
  std::vector<int32_t> end_tokens;
  std::vector<int32_t> tokens;  // the prompt, then everything accepted
  std::vector<int32_t> drafts;  // proposed to follow tokens, not yet verified
  DraftingState drafting;
  int32_t prompt_reported = 0;  // positions whose prompt log-probabilities are out
  TextStream text;
  StopStrings stops;
  LogitRules rules;
  std::optional<RepetitionGuard> loops;  // when the answer is to be broken off there
  Usage usage;
  Timing timing;
  Stopwatch submitted;
  bool scheduled = false;  // at least once
  SpeculationReport speculation;

  int32_t prompt_tokens() const { return static_cast<int32_t>(request.prompt.size()); }
  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  // At a position of tokens, or after them of drafts.
  int32_t token_at(int32_t position) const {
    return position < length() ? tokens[static_cast<size_t>(position)]
                               : drafts[static_cast<size_t>(position - length())];
  }
  bool in_prompt() const { return computed < prompt_tokens(); }
  void accept(int32_t token);
  void drop_drafts();

  // Whether the logits of a row are wanted: for the prompt's log-probabilities that are not yet reported, or to draw
  // what follows the newest token or a draft.
  bool is_scored(int32_t position) const {
    return request.prompt_logprobs && position >= prompt_reported && position < prompt_tokens() - 1;
  }
  bool is_drawn_from(int32_t position) const { return position >= length() - 1 && request.tokens_max > 0; }
};

// Appends the rows of a slice to the batch; the tables already have room. Placeholders of pictures and sound are looked
// up as pad_id, as the reference does; their soft rows are added by the caller. Returns the index of the slice's first
// row among batch.logit_rows.
int32_t append_slice(Batch& batch, const StepSlice& slice, int32_t pad_id);

}  // namespace lapidary
