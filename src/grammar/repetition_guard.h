// Notices that an answer has fallen into a loop: the same tokens, up to period_max of them, again and again.
#pragma once

#include <cstdint>
#include <vector>

namespace lapidary {

struct RepetitionLimits {
  int32_t period_max = 128;  // tokens of the part that repeats
  int32_t times = 12;        // that it must have come, and
  int32_t tokens = 384;      // how long all of it must be: tables and rulers are repetitive too
};

class RepetitionGuard {
 public:
  explicit RepetitionGuard(const RepetitionLimits& limits = {});

  // Every token of the answer, in order. True when the answer should be broken off here (finish_reason "stop",
  // stop_reason "repetition"); the caller does not ask when the end of the answer is to be ignored.
  bool push(int32_t token);

 private:
  RepetitionLimits limits_;
  std::vector<int32_t> recent_;  // ring of the last period_max tokens
  std::vector<int32_t> run_;     // [p]: for how many tokens each has equalled the one p before it
  int64_t seen_ = 0;
};

}  // namespace lapidary
