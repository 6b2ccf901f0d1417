// Follows one answer through its grammar: which tokens may come next, and which text must.
//
//   GrammarMatcher matcher(grammar, library);
//   matcher.mask(words);             // before drawing a token
//   matcher.advance(token);          // after it
//   GrammarMatcher ahead = matcher;  // to check drafts: copies are cheap and share what was computed
//
// Masks allow no dead end: from every allowed token some end can be reached. Matchers of one library belong to one
// thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "grammar/frames.h"
#include "grammar/leaf_masks.h"
#include "text/tokenizer.h"

namespace lapidary {

// What must come next: bytes, or one control token.
struct ForcedPiece {
  int32_t token = -1;  // of a control token; else bytes
  std::string bytes;
};

class GrammarMatcher {
 public:
  GrammarMatcher(GrammarPtr grammar, std::shared_ptr<MaskLibrary> library);

  // mask: [trie.mask_words()], bit t is token t. End tokens are allowed when can_end(); nothing is after one of them.
  // Returns how many tokens are allowed; 0 only when ended().
  int64_t mask(std::span<uint64_t> mask);
  // Whether mask() would have the token's bit, without making a mask.
  bool allows(int32_t token);
  // False, and nothing changes, when the token is not allowed.
  bool advance(int32_t token);
  // The answer may end here.
  bool can_end() const { return position_.can_end; }
  // An end token was taken, or nothing but one is possible.
  bool ended() const { return ended_; }
  bool must_end() const { return ended_ || (position_.can_end && position_.items.empty()); }
  // Takes back the last tokens. Errors: kInvalidArgument beyond what is remembered (kLimits.grammar_rollback_tokens_max
  // and the tokens taken); then nothing changes.
  Result<void> rollback(int32_t tokens);
  // The only continuation as far as there is only one, at most bytes_max bytes: free drafts.
  std::vector<ForcedPiece> forced(int32_t bytes_max);
  // The same as tokens: drafts to be verified like any others, since the model may cut the text otherwise.
  std::vector<int32_t> forced_tokens(const Tokenizer& tokenizer, int32_t bytes_max);

  // Reads text as if it had been an answer: for checking whole texts. False, and nothing changes, when it is not
  // possible.
  bool advance_text(std::string_view text);

 private:
  struct Shared {
    explicit Shared(GrammarPtr grammar) : frames(std::move(grammar)) {}
    Frames frames;
    std::vector<std::shared_ptr<LeafMasks>> leaves;  // by rule, nullptr until needed
    std::map<std::vector<GrammarItem>, std::vector<uint64_t>> masks;
    std::vector<GrammarPosition> levels;  // of walk(), kept for their memory
  };
  struct Step {
    GrammarPosition position;
    bool ended;
  };

  void add_leaf(const GrammarItem& item, std::span<uint64_t> mask);
  void walk(const GrammarPosition& from, uint32_t node, std::span<uint64_t> mask);
  int symbol_of(int32_t token) const;
  bool read(std::string_view text, GrammarPosition& position);

  std::shared_ptr<MaskLibrary> library_;
  std::shared_ptr<Shared> shared_;
  std::vector<int32_t> marker_tokens_;
  GrammarPosition position_;
  bool ended_ = false;
  std::deque<Step> history_;
};

}  // namespace lapidary
