// How many tokens a thought may take. Pure counting: the engine asks what must come next and forces it.
#pragma once

#include <cstdint>

namespace lapidary {

class ThinkingBudget {
 public:
  // tokens_max: between <|channel> and <channel|>, over all thoughts of one answer; -1: no bound. thought_open: the
  // prompt ends inside a thought. An id of -1 (the vocabulary has no such token) switches the budget off.
  ThinkingBudget(int32_t channel_begin, int32_t channel_end, int64_t tokens_max, bool thought_open);

  // Every token of the answer, in order.
  void push(int32_t token);
  // The token that must come next: the end of the channel once the budget is spent; -1 while anything may come.
  int32_t forced() const;
  bool in_thought() const { return open_; }
  int64_t tokens() const { return tokens_; }

 private:
  int32_t begin_, end_;
  int64_t max_;
  int64_t tokens_ = 0;
  bool open_;
};

}  // namespace lapidary
