#include "grammar/reply_constraint.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lapidary {

ReplyConstraint::ReplyConstraint(ReplyConstraintOptions options, std::shared_ptr<MaskLibrary> library)
    : options_(std::move(options)),
      library_(std::move(library)),
      channel_begin_(options_.chat ? library_->trie().marker("<|channel>") : -1),
      channel_end_(options_.chat ? library_->trie().marker("<channel|>") : -1),
      call_begin_(options_.chat ? library_->trie().marker("<|tool_call>") : -1),
      budget_(channel_begin_, channel_end_, options_.thinking_tokens_max, options_.thought_open) {
  if (!options_.chat) options_ = {.answer = options_.answer, .tools = ToolUse::kNone, .chat = false};
  CHECK(options_.tools != ToolUse::kRequired || (options_.calls != nullptr && call_begin_ >= 0));
  if (options_.thought_open) place_ = Place::kThought, thought_ = true;
  if (options_.answer) answer_.emplace(options_.answer, library_);
  if (options_.calls) calls_.emplace(options_.calls, library_);
}

bool ReplyConstraint::is_banned(int32_t token) const {
  if (token < 0) return false;
  if (token == call_begin_) return options_.tools == ToolUse::kNone;
  if (token == channel_begin_) return options_.thinking_tokens_max == 0;
  return place_ == Place::kThought && owes_more() && library_->trie().is_end(token);
}

// False, and mask is not touched, when nothing is banned.
bool ReplyConstraint::everything_but_banned(std::span<uint64_t> mask) const {
  const TokenTrie& trie = library_->trie();
  std::vector<int32_t> banned = trie.end_tokens();
  banned.insert(banned.end(), {call_begin_, channel_begin_});
  std::erase_if(banned, [&](int32_t token) { return !is_banned(token); });
  if (banned.empty()) return false;
  std::fill(mask.begin(), mask.end(), ~0ull);
  if (const int32_t rest = trie.vocabulary() % 64; rest > 0) mask.back() = (1ull << rest) - 1;
  for (const int32_t token : banned) mask[static_cast<size_t>(token) / 64] &= ~(1ull << (token % 64));
  return true;
}

bool ReplyConstraint::must_end() const {
  if (place_ == Place::kAnswer) return answer_->must_end();
  if (place_ == Place::kCalls) return calls_->must_end();
  return ended();
}

bool ReplyConstraint::mask(std::span<uint64_t> mask) {
  switch (place_) {
    case Place::kThought:
      if (budget_.forced() < 0) return everything_but_banned(mask);
      std::fill(mask.begin(), mask.end(), 0);
      set_bit(mask, budget_.forced());
      return true;
    case Place::kOutside:
      if (options_.tools == ToolUse::kRequired) {
        std::fill(mask.begin(), mask.end(), 0);
      } else if (answer_) {
        answer_->mask(mask);
      } else {
        return everything_but_banned(mask);
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
      return everything_but_banned(mask);
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
      return budget_.forced() < 0 ? !is_banned(token) : token == budget_.forced();
    case Place::kOutside:
      if (token == call_begin_ && call_begin_ >= 0) return may_call();
      if (token == channel_begin_ && may_think()) return true;
      if (options_.tools == ToolUse::kRequired) return false;
      return answer_ ? answer_->allows(token) : !is_banned(token);
    case Place::kAnswer:
      return answer_->allows(token);
    case Place::kCalls:
      return calls_->allows(token);
    case Place::kFreeAnswer:
      return !is_banned(token);
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
      } else if (token == call_begin_ && call_begin_ >= 0) {
        begin_calls();
      } else if (library_->trie().is_end(token)) {
        place_ = Place::kEnded;
      }
      return true;
    case Place::kOutside:
    case Place::kFreeAnswer:
      if (token == call_begin_ && call_begin_ >= 0) {
        begin_calls();
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
  if (place_ != Place::kOutside || may_think()) return {};
  if (options_.tools == ToolUse::kRequired) {
    std::vector<ForcedPiece> pieces = calls_->forced(bytes_max);
    pieces.insert(pieces.begin(), {call_begin_, {}});
    return pieces;
  }
  return answer_ && !may_call() ? answer_->forced(bytes_max) : std::vector<ForcedPiece>{};
}

std::vector<int32_t> ReplyConstraint::forced_tokens(const Tokenizer& tokenizer, int32_t bytes_max) {
  const std::vector<ForcedPiece> pieces = forced(bytes_max);
  std::vector<EncodeItem> items;
  items.reserve(pieces.size());
  for (const ForcedPiece& piece : pieces) items.push_back({piece.token, piece.bytes});
  return tokenizer.encode_runs(items);
}

}  // namespace lapidary
