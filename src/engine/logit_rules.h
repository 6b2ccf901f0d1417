// What a request asks to be done to logits before a token is drawn, apart from temperature and filters: forbidden
// tokens, biases, penalties. Log-probabilities are reported of the logits as the model gave them.
//
// The order of operations, from the model's soft-capped logits to a token:
//   1. forbidden: what the model's configuration suppresses; what a constraint does not allow; tokens that end the
//      answer before tokens_min, and with a constraint the model's own ends under ignore_eos; a bias of -100 or less
//                                                                                                 logit = -infinity
//      What would leave nothing to draw is not forbidden, in this order: the end of a grammar must be possible.
//   2. bias                                                                                       logit += bias
//   3. repetition, of tokens in the prompt or the answer     logit = logit > 0 ? logit / penalty : logit * penalty
//   4. frequency and presence, of tokens in the answer       logit -= frequency * count; logit -= presence
//   5. temperature, top-k, top-p, min-p and the draw: Sampler
// 2 to 4 are computed in float, in this order, as other servers of the same parameters do.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/request.h"
#include "model/generation_config.h"

namespace lapidary {

class LogitRules {
 public:
  // end_tokens: what would end the answer. model: its own ends, and what it never says. The request outlives the rules.
  LogitRules(const GenerationRequest& request, std::vector<int32_t> end_tokens, TokenConstraint* constraint,
             const GenerationDefaults& model = {});

  // Whether apply() would change any logits now.
  bool active() const;
  // logits [vocab], as the model gave them, become those to draw from. tokens: the prompt and the answer so far.
  void apply(std::span<float> logits, std::span<const int32_t> tokens) { adjust(logits, tokens, constraint_); }
  // The same for a draft, as far as it is cheap: `ahead` is a fork of the constraint that knows the drafts before it
  // (nullptr: no constraint), all else is as after tokens.
  void apply_to_draft(std::span<float> logits, std::span<const int32_t> tokens, TokenConstraint* ahead) {
    adjust(logits, tokens, ahead);
  }
  // The answer goes on with this token.
  void accept(int32_t token);
  // The constraint lets nothing follow.
  bool ended() const { return constraint_ != nullptr && constraint_->ended(); }
  TokenConstraint* constraint() const { return constraint_; }

 private:
  void adjust(std::span<float> logits, std::span<const int32_t> tokens, TokenConstraint* constraint);
  void forbid(std::span<float> logits, TokenConstraint* constraint);
  void take_away(std::span<const int32_t> tokens);
  void penalise(std::span<float> logits, std::span<const int32_t> tokens);

  const GenerationRequest* request_;
  std::vector<int32_t> end_tokens_;
  std::vector<int32_t> ignored_ends_;  // under a constraint
  std::vector<int32_t> suppressed_;
  std::vector<int32_t> never_;  // by their bias
  TokenConstraint* constraint_;
  int32_t accepted_ = 0;
  std::unordered_map<int32_t, int32_t> counts_;  // of the answer's tokens
  std::unordered_set<int32_t> seen_;             // of the prompt's and the answer's, when the whole of both counts
  std::vector<uint64_t> allowed_, taken_;        // bit t: token t
};

}  // namespace lapidary
