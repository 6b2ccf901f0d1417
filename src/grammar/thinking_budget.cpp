#include "grammar/thinking_budget.h"

namespace lapidary {

ThinkingBudget::ThinkingBudget(int32_t channel_begin, int32_t channel_end, int64_t tokens_max, bool thought_open)
    : begin_(channel_begin), end_(channel_end), max_(tokens_max), open_(thought_open) {}

void ThinkingBudget::push(int32_t token) {
  if (token == end_) {
    open_ = false;
  } else if (token == begin_) {
    open_ = true;
  } else if (open_) {
    ++tokens_;
  }
}

int32_t ThinkingBudget::forced() const { return open_ && max_ >= 0 && tokens_ >= max_ && end_ >= 0 ? end_ : -1; }

}  // namespace lapidary
