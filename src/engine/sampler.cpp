#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"

namespace lapidary {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

uint64_t choice_seed(uint64_t seed, int32_t choice) {
  return choice == 0 ? seed : hash_counter(seed, static_cast<uint64_t>(choice), 0);
}

Sampler::Sampler(int32_t vocab, const std::vector<int32_t>& suppressed)
    : suppressed_(static_cast<size_t>(vocab), false) {
  for (const int32_t id : suppressed) {
    CHECK(id >= 0 && id < vocab);
    suppressed_[static_cast<size_t>(id)] = true;
  }
}

int32_t Sampler::argmax(std::span<const float> logits) const {
  // The flag is looked at only for a logit that would win: a vocabulary has 262,144 of them, and few win.
  int32_t best = -1;
  float most = -std::numeric_limits<float>::infinity();
  for (size_t id = 0; id < logits.size(); ++id) {
    if ((logits[id] > most || (best < 0 && logits[id] == most)) && !suppressed_[id]) {
      most = logits[id];
      best = static_cast<int32_t>(id);
    }
  }
  return std::max(best, 0);
}

float Sampler::kth_largest(std::span<const float> logits, int32_t k) {
  const float none = -std::numeric_limits<float>::infinity();
  if (k <= 0 || static_cast<size_t>(k) >= logits.size()) return none;
  // A min-heap of the k largest so far: its top moves only some k ln(n / k) times.
  best_.assign(static_cast<size_t>(k), none);
  for (size_t id = 0; id < logits.size(); ++id) {
    if (!(logits[id] > best_.front()) || suppressed_[id]) continue;
    std::pop_heap(best_.begin(), best_.end(), std::greater<>());
    best_.back() = logits[id];
    std::push_heap(best_.begin(), best_.end(), std::greater<>());
  }
  return best_.front();
}

void Sampler::keep_top_p(double p, double min_p) {
  if (p >= 1.0 && min_p <= 0.0) return;
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : a.token < b.token;
  });
  const double most = candidates_.front().score;
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(c.score - most);
  // A token stays while the tokens before it hold less than p; the first always stays.
  double before = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && (kept == 0 || before < p * total))
    before += std::exp(candidates_[kept++].score - most);
  if (p < 1.0) candidates_.resize(kept);
  if (min_p > 0) {
    const double threshold = most + std::log(min_p);
    std::erase_if(candidates_, [&](const Candidate& c) { return c.score < threshold; });
  }
}

int32_t Sampler::draw(std::span<const float> logits, const SamplingParams& params, int32_t position) {
  CHECK(logits.size() == suppressed_.size());
  if (params.temperature <= 0) return argmax(logits);
  candidates_.clear();
  const double inverse = 1.0 / static_cast<double>(params.temperature);
  const float threshold = kth_largest(logits, params.top_k);
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] >= threshold && logits[id] > -std::numeric_limits<float>::infinity() && !suppressed_[id]) {
      candidates_.push_back({static_cast<double>(logits[id]) * inverse, static_cast<int32_t>(id)});
    }
  }
  if (candidates_.empty()) return argmax(logits);
  keep_top_p(static_cast<double>(params.top_p), static_cast<double>(params.min_p));
  int32_t best = -1;
  double most = -std::numeric_limits<double>::infinity();
  for (const Candidate& c : candidates_) {
    const double u = uniform_open(params.seed, static_cast<uint64_t>(position), static_cast<uint64_t>(c.token));
    const double noisy = c.score - std::log(-std::log(u));
    if (noisy > most || (noisy == most && c.token < best)) {
      most = noisy;
      best = c.token;
    }
  }
  return best;
}

TokenLogprob token_logprob(std::span<const float> logits, int32_t token, int32_t top) {
  CHECK(token >= 0 && static_cast<size_t>(token) < logits.size());
  float most = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) most = std::max(most, logit);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(most));
  const double log_total = static_cast<double>(most) + std::log(sum);
  TokenLogprob result;
  result.token = token;
  result.logprob = static_cast<double>(logits[static_cast<size_t>(token)]) - log_total;
  const size_t count = std::min(static_cast<size_t>(std::max(top, 0)), logits.size());
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  for (size_t i = 0; i < count; ++i)
    result.top.emplace_back(ids[i], static_cast<double>(logits[static_cast<size_t>(ids[i])]) - log_total);
  return result;
}

}  // namespace lapidary
