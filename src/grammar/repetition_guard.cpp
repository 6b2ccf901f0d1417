#include "grammar/repetition_guard.h"

#include <algorithm>

#include "base/check.h"

namespace lapidary {

RepetitionGuard::RepetitionGuard(const RepetitionLimits& limits) : limits_(limits) {
  CHECK(limits.period_max >= 1 && limits.times >= 2 && limits.tokens >= 1);
  recent_.resize(static_cast<size_t>(limits.period_max), -1);
  run_.resize(static_cast<size_t>(limits.period_max) + 1, 0);
}

bool RepetitionGuard::push(int32_t token) {
  bool looping = false;
  const auto size = static_cast<int64_t>(recent_.size());
  for (int32_t period = 1; period <= limits_.period_max; ++period) {
    int32_t& run = run_[static_cast<size_t>(period)];
    const bool same = seen_ >= period && recent_[static_cast<size_t>((seen_ - period) % size)] == token;
    run = same ? std::min(run + 1, 1 << 30) : 0;
    // run tokens repeat the ones a period before, so run + period tokens are periodic.
    const int32_t length = run + period;
    looping = looping || (same && length >= limits_.tokens && length / period >= limits_.times);
  }
  recent_[static_cast<size_t>(seen_ % size)] = token;
  ++seen_;
  return looping;
}

}  // namespace lapidary
