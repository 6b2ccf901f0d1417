#include "grammar/reply_constraint.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lapidary {

ReplyConstraint::ReplyConstraint(ReplyConstraintOptions options, std::shared_ptr<MaskLibrary> library)
    : options_(std::move(options)),
      library_(std::move(library)),
      channel_begin_(library_->trie().marker("<|channel>")),
      channel_end_(library_->trie().marker("<channel|>")),
      call_begin_(library_->trie().marker("<|tool_call>")),
      budget_(channel_begin_, channel_end_, options_.thinking_tokens_max, options_.thought_open) {
  CHECK(options_.tools != ToolUse::kRequired || (options_.calls != nullptr && call_begin_ >= 0));
  if (options_.thought_open) place_ = Place::kThought, thought_ = true;
  if (options_.answer) answer_.emplace(options_.answer, library_);
  if (options_.calls) calls_.emplace(options_.calls, library_);
}

void ReplyConstraint::everything_but_calls(std::span<uint64_t> mask) const {
  std::fill(mask.begin(), mask.end(), 0);
  const int32_t vocabulary = library_->trie().vocabulary();
  for (int32_t token = 0; token < vocabulary; token += 64) {
    mask[static_cast<size_t>(token) / 64] = vocabulary - token >= 64 ? ~0ull : (1ull << (vocabulary - token)) - 1;
  }
  mask[static_cast<size_t>(call_begin_) / 64] &= ~(1ull << (call_begin_ % 64));
}

bool ReplyConstraint::mask(std::span<uint64_t> mask) {
  switch (place_) {
    case Place::kThought:
      if (budget_.forced() < 0) return false;
      std::fill(mask.begin(), mask.end(), 0);
      set_bit(mask, budget_.forced());
      return true;
    case Place::kOutside:
      if (options_.tools == ToolUse::kRequired) {
        std::fill(mask.begin(), mask.end(), 0);
      } else if (answer_) {
        answer_->mask(mask);
      } else if (bans_call()) {
        everything_but_calls(mask);
        return true;
      } else {
        return false;
      }
      if (may_call()) set_bit(mask, call_begin_);
      if (may_think()) set_bit(mask, channel_begin_);
      return true;
    case Place::kAnswer:
      answer_->mask(mask);
      return true;
    case Place::kCalls:
      calls_->mask(mask);
      return true;
    case Place::kFreeAnswer:
      if (!bans_call()) return false;
      everything_but_calls(mask);
      return true;
    case Place::kFreeCalls:
      return false;
    case Place::kEnded:
      std::fill(mask.begin(), mask.end(), 0);
      return true;
  }
  return false;
}

bool ReplyConstraint::allows(int32_t token) {
  switch (place_) {
    case Place::kThought:
      return budget_.forced() < 0 || token == budget_.forced();
    case Place::kOutside:
      if (token == call_begin_ && call_begin_ >= 0) return may_call();
      if (token == channel_begin_ && may_think()) return true;
      if (options_.tools == ToolUse::kRequired) return false;
      return !answer_ || answer_->allows(token);
    case Place::kAnswer:
      return answer_->allows(token);
    case Place::kCalls:
      return calls_->allows(token);
    case Place::kFreeAnswer:
      return !bans_call() || token != call_begin_;
    case Place::kFreeCalls:
      return true;
    case Place::kEnded:
      return false;
  }
  return false;
}

bool ReplyConstraint::advance(int32_t token) {
  if (!allows(token)) return false;
  budget_.push(token);
  switch (place_) {
    case Place::kThought:
      if (!budget_.in_thought()) {
        place_ = Place::kOutside;
      } else if (library_->trie().is_end(token)) {
        place_ = Place::kEnded;
      }
      return true;
    case Place::kOutside:
    case Place::kFreeAnswer:
      if (token == call_begin_ && call_begin_ >= 0) {
        place_ = calls_ ? Place::kCalls : Place::kFreeCalls;
      } else if (token == channel_begin_ && channel_begin_ >= 0 && budget_.in_thought()) {
        place_ = Place::kThought;
        thought_ = true;
      } else if (answer_) {
        place_ = Place::kAnswer;
        CHECK(answer_->advance(token));
        if (answer_->ended()) place_ = Place::kEnded;
      } else {
        place_ = library_->trie().is_end(token) ? Place::kEnded : Place::kFreeAnswer;
      }
      return true;
    case Place::kAnswer:
      CHECK(answer_->advance(token));
      if (answer_->ended()) place_ = Place::kEnded;
      return true;
    case Place::kCalls:
      CHECK(calls_->advance(token));
      if (calls_->ended()) place_ = Place::kEnded;
      return true;
    case Place::kFreeCalls:
      if (library_->trie().is_end(token)) place_ = Place::kEnded;
      return true;
    case Place::kEnded:
      break;
  }
  return false;
}

std::vector<ForcedPiece> ReplyConstraint::forced(int32_t bytes_max) {
  if (place_ == Place::kThought && budget_.forced() >= 0) return {{budget_.forced(), {}}};
  if (place_ == Place::kAnswer) return answer_->forced(bytes_max);
  if (place_ == Place::kCalls) return calls_->forced(bytes_max);
  return {};
}

}  // namespace lapidary
