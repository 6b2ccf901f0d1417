// run --verify: an answer is computed once more by the slow back-end that is right by construction, and compared.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/options.h"

namespace lapidary::cli {

// The logits an answer's tokens were drawn from, as far as kLimits.verify_bytes_max allows.
struct AnswerRecord {
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // [rows, vocab], rows <= tokens.size()

  void add(int32_t token, std::span<const float> row);
};

struct Verification {
  // The first token of the answer that the reference did not draw. The logits before it were computed from the same
  // tokens, so only they (its own included) are compared.
  struct Difference {
    int32_t index = 0, token = 0, expected = 0;  // of the answer; what stands there, and in the reference's answer
    double margin = 0;                           // by how much the reference prefers its own, in logits
  };
  int32_t tokens = 0;                  // compared
  int32_t answer_tokens = 0;           // there were
  double logit_difference_max = 0;     // over the whole vocabulary of every compared row
  int32_t logit_difference_index = 0;  // the token where it is
  std::optional<Difference> difference;
  double reference_ms = 0;

  Json json() const;
  std::string text() const;  // one line
};

// Repeats the request with --device reference: double precision, K and V in f32, no drafter, nothing from a cache,
// alone. record: of the answer to it. Errors: as Engine::open and Engine::submit; kCancelled after SIGINT.
Result<Verification> verify_answer(const EngineOptions& options, const GenerationRequest& request,
                                   const AnswerRecord& record);

}  // namespace lapidary::cli
