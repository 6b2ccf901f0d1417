// A whole reply under its constraints: thoughts are free but for their budget, the grammar of the answer begins after
// them, a call that the model begins by itself is held to the declared tools.
//
//   outside --<|channel>--> thought --<channel|>--> outside        (a thought at most before the answer)
//   outside --<|tool_call>--> calls, until the reply ends
//   outside --anything else--> answer, until the reply ends
//   thought --<|tool_call>--> calls: models forget <channel|>, and readers of replies take it so
//
// A reply that owes an answer or a call does not end inside a thought. Token ids decide, so text that looks like a
// marker is text. Copies are cheap: a copy checks drafts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "grammar/matcher.h"
#include "grammar/thinking_budget.h"

namespace lapidary {

enum class ToolUse : uint8_t {
  kNone,      // calls are suppressed
  kAllowed,   // the model decides
  kRequired,  // the reply is at least one call, after a thought if the model wants one
};

struct ReplyConstraintOptions {
  GrammarPtr answer;  // what the answer's text must be; none: free
  GrammarPtr calls;   // compile_tool_calls() with after_marker; none: calls are free (kAllowed) or impossible (kNone)
  ToolUse tools = ToolUse::kAllowed;
  int64_t thinking_tokens_max = -1;  // -1: no bound; 0: no thought is begun
  bool thought_open = false;         // the prompt ends inside a thought
  // The reply has the model's format. Else it is text: all of it is the answer, and nothing above but `answer` counts.
  bool chat = true;
};

class ReplyConstraint {
 public:
  ReplyConstraint(ReplyConstraintOptions options, std::shared_ptr<MaskLibrary> library);

  // False: any token may come, and mask is not touched. True: mask [trie.mask_words()] holds the allowed ones, at least
  // one unless ended().
  bool mask(std::span<uint64_t> mask);
  bool allows(int32_t token);
  // False, and nothing changes, when the token is not allowed.
  bool advance(int32_t token);
  bool ended() const { return place_ == Place::kEnded; }
  // Nothing can follow but the end of the reply.
  bool must_end() const;
  // What must come next, as GrammarMatcher::forced; also the end of a thought whose budget is spent, and the beginning
  // of a call that is required.
  std::vector<ForcedPiece> forced(int32_t bytes_max);
  // The same as tokens, as GrammarMatcher::forced_tokens.
  std::vector<int32_t> forced_tokens(const Tokenizer& tokenizer, int32_t bytes_max);

 private:
  enum class Place : uint8_t { kOutside, kThought, kAnswer, kFreeAnswer, kCalls, kFreeCalls, kEnded };

  bool may_think() const { return !thought_ && channel_begin_ >= 0 && options_.thinking_tokens_max != 0; }
  bool may_call() const { return options_.tools != ToolUse::kNone && call_begin_ >= 0; }
  bool owes_more() const { return answer_.has_value() || options_.tools == ToolUse::kRequired; }
  // Of free text: what is not allowed all the same.
  bool is_banned(int32_t token) const;
  bool everything_but_banned(std::span<uint64_t> mask) const;
  void begin_calls() { place_ = calls_ ? Place::kCalls : Place::kFreeCalls; }

  ReplyConstraintOptions options_;
  std::shared_ptr<MaskLibrary> library_;
  int32_t channel_begin_, channel_end_, call_begin_;
  ThinkingBudget budget_;
  Place place_ = Place::kOutside;
  bool thought_ = false;  // there was one
  std::optional<GrammarMatcher> answer_, calls_;
};

}  // namespace lapidary
