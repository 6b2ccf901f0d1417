// From logits to a token. Greedy, or a draw by Gumbel-max: argmax of logit / temperature + g with g = -log(-log(u)) is
// a sample of the softmax, and u is a hash of (seed, position, token), so the draw depends on nothing else: not on
// batch neighbours, on how the prompt was cut, or on drafts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"

namespace lapidary {

class Sampler {
 public:
  // suppressed ids are never chosen, greedy included.
  Sampler(int32_t vocab, const std::vector<int32_t>& suppressed);

  // logits [vocab], soft-capped; position: of the token to be drawn. NaN logits are never chosen.
  // Filters in the order of the reference: temperature, top-k, top-p, min-p; ties at a threshold are kept.
  int32_t draw(std::span<const float> logits, const SamplingParams& params, int32_t position);

 private:
  struct Candidate {
    double score;  // logit / temperature
    int32_t token;
  };

  int32_t argmax(std::span<const float> logits) const;
  // The k-th largest logit that is not suppressed; -infinity when all stay.
  float kth_largest(std::span<const float> logits, int32_t k);
  void keep_top_p(double p, double min_p);

  std::vector<bool> suppressed_;
  std::vector<Candidate> candidates_;
  std::vector<float> best_;
};

// log softmax(logits)[token] and the `top` best tokens.
TokenLogprob token_logprob(std::span<const float> logits, int32_t token, int32_t top);

}  // namespace lapidary
