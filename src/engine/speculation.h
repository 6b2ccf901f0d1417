// Speculation: tokens guessed cheaply, verified together by one step of the model. A draft is kept when it equals the
// model's own draw; the model draws with noise that depends on seed, position and token alone, so an answer is the same
// with drafts, with other drafts, and without any. Only the speed depends on them.
//
// Drafts come from two places: a drafter, and grammars, which know text that must follow. How many are proposed for
// each answer is planned for all of them together (engine/draft_depth.h), from what was measured here.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/limits.h"
#include "engine/draft_depth.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "model/drafter.h"
#include "model/model.h"

namespace lapidary {

// One answer whose next tokens are to be guessed. It holds K and V of all its tokens but the newest.
struct DraftTask {
  Sequence* sequence = nullptr;
  TensorView hidden;            // [1, dim]: the stream after the final norm that the newest token was drawn from
  int32_t most = 0;             // drafts wanted
  std::vector<int32_t> drafts;  // at most that many tokens that may follow, none if there is nothing to guess
};

// Where drafts come from.
class DraftSource {
 public:
  virtual ~DraftSource() = default;
  // Fills drafts of every task; most is at least 1.
  virtual void propose(std::span<DraftTask> tasks) = 0;
  virtual std::string description() const = 0;
};

// Drafts of the model's own MTP drafter, drawn with the noise the model will draw with and after the same rules.
class DrafterSource final : public DraftSource {
 public:
  // rows_max: answers drafted for at a time; more go one group after another. Errors: as Drafter::open.
  static Result<std::unique_ptr<DrafterSource>> open(const std::string& path, Model& model, int32_t rows_max);

  void propose(std::span<DraftTask> tasks) override;
  std::string description() const override;
  int64_t weight_bytes() const { return drafter_->dir().weights.bytes(); }

 private:
  struct Row {
    DraftTask* task = nullptr;
    std::unique_ptr<TokenConstraint> ahead;  // knows the drafts, too; nullptr without a constraint
  };
  DrafterSource(Model& model, std::unique_ptr<Drafter> drafter, int32_t rows_max);

  void propose_together(std::span<DraftTask> tasks);
  bool draw(Row& row, int32_t index);

  Model* model_;
  std::unique_ptr<Drafter> drafter_;
  int32_t rows_max_;
  Sampler sampler_;
  std::vector<float> logits_;  // [vocab]
};

// What became of all drafts since the start.
struct DraftCounts {
  int64_t rounds = 0;  // steps that verified any for an answer
  int64_t proposed = 0, accepted = 0;
  std::array<int64_t, kLimits.forced_drafts_max> accepted_at{};  // by the draft's place in its round
};

// Plans, makes and counts drafts of all answers. The clock is read here and changes depths only.
class Speculation {
 public:
  // depth: drafts of every round; absent: planned.
  explicit Speculation(std::optional<int32_t> depth) : depth_(depth) {}

  void set_source(std::unique_ptr<DraftSource> source) { source_ = std::move(source); }
  const DraftSource* source() const { return source_.get(); }
  const DraftCounts& counts() const { return counts_; }

  // A step of so many rows, all of them drawn from, took so long, drawing included.
  void note_step(int32_t rows, double ms) { step_cost_.note(rows, ms); }
  // Of an answer's drafts the first `accepted` were kept.
  void note_round(Sequence& sequence, std::span<const int32_t> drafts, int32_t accepted);
  // Fills drafts of every answer that goes on; most is how many could still become part of it. other_rows: of the next
  // step, beside the newest tokens of these answers.
  void propose(std::span<DraftTask> tasks, int32_t other_rows);

 private:
  void plan(std::span<DraftTask> tasks, std::span<const std::vector<int32_t>> forced, int32_t rows);
  bool plain_round_is_due(int32_t rows);
  void draft(std::span<DraftTask> tasks);

  std::optional<int32_t> depth_;
  std::unique_ptr<DraftSource> source_;
  CostCurve step_cost_{1.0, 0.03}, draft_cost_{1.0, 0.1};
  bool drafted_before_ = false;
  DraftHistory drafted_, forced_;           // of all answers: what is expected of a new one
  std::array<int32_t, 16> plain_age_ = {};  // [octave of rows]: rounds with drafts since one without; 0: there was none
  DraftCounts counts_;
};

}  // namespace lapidary
