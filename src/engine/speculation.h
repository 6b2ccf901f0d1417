// Speculation: tokens guessed cheaply, verified together by one step of the model. A draft is kept when it equals the
// model's own draw; the model draws with noise that depends on seed, position and token alone, so an answer is the same
// with drafts, with other drafts, and without any. Only the speed depends on them.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "engine/sequence.h"
#include "model/drafter.h"
#include "model/model.h"

namespace lapidary {

// Where drafts come from.
class DraftSource {
 public:
  virtual ~DraftSource() = default;
  // At most `most` tokens that may follow sequence.tokens, none if there is nothing to guess. The sequence holds K and
  // V of all its tokens but the newest. hidden [1, dim]: the stream after the final norm that the newest token was
  // drawn from.
  virtual std::vector<int32_t> propose(const Sequence& sequence, TensorView hidden, int32_t most) = 0;
  virtual std::string description() const = 0;
};

// Drafts of the model's own MTP drafter, drawn with the noise the model will draw with.
class DrafterSource final : public DraftSource {
 public:
  // Errors: as Drafter::open.
  static Result<std::unique_ptr<DrafterSource>> open(const std::string& path, Model& model);

  std::vector<int32_t> propose(const Sequence& sequence, TensorView hidden, int32_t most) override;
  std::string description() const override;
  int64_t weight_bytes() const { return drafter_->dir().weights.bytes(); }

 private:
  DrafterSource(Model& model, std::unique_ptr<Drafter> drafter);

  Model* model_;
  std::unique_ptr<Drafter> drafter_;
  Sampler sampler_;
  std::vector<float> logits_;  // [vocab]
};

// How many tokens to draft: a short first guess, one more as long as all are kept, else one more than were kept.
inline constexpr int32_t kFirstDraftTokens = 4;
int32_t next_draft_tokens(int32_t current, int32_t proposed, int32_t accepted);

}  // namespace lapidary
