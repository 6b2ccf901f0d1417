#include "engine/logit_rules.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace lapidary {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr float kForbiddingBias = -100.0f;

float& at(std::span<float> logits, int32_t token) {
  CHECK(token >= 0 && static_cast<size_t>(token) < logits.size());
  return logits[static_cast<size_t>(token)];
}

float repeated(float logit, float penalty) { return logit > 0 ? logit / penalty : logit * penalty; }

}  // namespace

LogitRules::LogitRules(const GenerationRequest& request, std::vector<int32_t> end_tokens, TokenConstraint* constraint,
                       const GenerationDefaults& model)
    : request_(&request), end_tokens_(std::move(end_tokens)), constraint_(constraint) {
  const SamplingParams& p = request.sampling;
  if (constraint != nullptr) suppressed_ = model.suppressed_ids;
  if (constraint != nullptr && request.ignore_eos) ignored_ends_ = model.stop_ids;
  for (const auto& [token, bias] : p.logit_bias) {
    if (bias <= kForbiddingBias) never_.push_back(token);
  }
  if (p.repetition_penalty == 1 || p.repetition_window >= 0) return;
  seen_.insert(request.prompt.begin(), request.prompt.end());
}

bool LogitRules::active() const {
  const SamplingParams& p = request_->sampling;
  return constraint_ != nullptr || accepted_ < request_->tokens_min || !p.logit_bias.empty() ||
         p.repetition_penalty != 1 || p.frequency_penalty != 0 || p.presence_penalty != 0;
}

void LogitRules::adjust(std::span<float> logits, std::span<const int32_t> tokens, TokenConstraint* constraint) {
  forbid(logits, constraint);
  for (const auto& [token, bias] : request_->sampling.logit_bias) at(logits, token) += bias;
  penalise(logits, tokens);
}

void LogitRules::forbid(std::span<float> logits, TokenConstraint* constraint) {
  const size_t words = (logits.size() + 63) / 64;
  allowed_.assign(words, 0);
  if (constraint == nullptr || !constraint->allowed_next(allowed_)) {
    allowed_.assign(words, ~0ull);
    if (logits.size() % 64 > 0) allowed_.back() = (1ull << (logits.size() % 64)) - 1;
  }
  take_away(suppressed_);
  if (accepted_ < request_->tokens_min) take_away(end_tokens_);
  take_away(ignored_ends_);
  take_away(never_);
  for (size_t word = 0; word < words; ++word) {
    if (allowed_[word] == ~0ull) continue;
    const size_t end = std::min(logits.size(), (word + 1) * 64);
    for (size_t id = word * 64; id < end; ++id) {
      if ((allowed_[word] >> (id % 64) & 1) == 0) logits[id] = kNever;
    }
  }
}

// Unless nothing would be left.
void LogitRules::take_away(std::span<const int32_t> tokens) {
  if (tokens.empty()) return;
  taken_ = allowed_;
  for (const int32_t token : tokens) {
    CHECK(token >= 0 && static_cast<size_t>(token) / 64 < taken_.size());
    taken_[static_cast<size_t>(token) / 64] &= ~(1ull << (token % 64));
  }
  if (std::any_of(taken_.begin(), taken_.end(), [](uint64_t word) { return word != 0; })) std::swap(allowed_, taken_);
}

void LogitRules::penalise(std::span<float> logits, std::span<const int32_t> tokens) {
  const SamplingParams& p = request_->sampling;
  if (p.repetition_penalty != 1) {
    if (p.repetition_window < 0) {
      for (const int32_t token : seen_) at(logits, token) = repeated(at(logits, token), p.repetition_penalty);
    } else {
      const size_t count = std::min(tokens.size(), static_cast<size_t>(p.repetition_window));
      const std::unordered_set<int32_t> last(tokens.end() - static_cast<std::ptrdiff_t>(count), tokens.end());
      for (const int32_t token : last) at(logits, token) = repeated(at(logits, token), p.repetition_penalty);
    }
  }
  if (p.frequency_penalty != 0 || p.presence_penalty != 0) {
    for (const auto& [token, count] : counts_) {
      float& logit = at(logits, token);
      logit -= p.frequency_penalty * static_cast<float>(count);
      logit -= p.presence_penalty;
    }
  }
}

void LogitRules::accept(int32_t token) {
  const SamplingParams& p = request_->sampling;
  ++accepted_;
  if (p.frequency_penalty != 0 || p.presence_penalty != 0) ++counts_[token];
  if (p.repetition_penalty != 1 && p.repetition_window < 0) seen_.insert(token);
  if (constraint_ != nullptr) constraint_->accept(token);
}

}  // namespace lapidary
