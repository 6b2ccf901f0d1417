// Drafter: the MTP head that guesses what the model will say next. A small decoder over the target's K and V; it keeps
// nothing of its own but the vector it carries from one drafted token to the next.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "files/model_dir.h"
#include "model/drafter_config.h"
#include "model/drafter_weights.h"
#include "model/model.h"

namespace lapidary {

class Drafter {
 public:
  // Reads a drafter's directory and refuses one that was made for another model. rows_max: sequences drafted for at a
  // time. The target must outlive the drafter and holds its buffers. Errors: as read_drafter_config,
  // bind_drafter_weights and open_model_dir; kExhausted.
  static Result<std::unique_ptr<Drafter>> open(const std::filesystem::path& path, Model& target, int32_t rows_max);

  // Starts a round. hidden [rows, backbone_dim]: the target's stream after its final norm, at the position before each
  // row's newest token.
  void begin(TensorView hidden);
  void begin(std::span<const TensorView> hidden);  // [1, backbone_dim] each
  // Only these rows go on, ascending: they become rows 0, 1, ... of the next step.
  void keep(std::span<const int32_t> rows);

  // One drafter step of every row. batch: one row per sequence, its token the newest one or the draft of the step
  // before, its position that of the newest token in every step of a round; its slice borrows K and V, kv_length the
  // positions whose tokens are certain.
  //   x = W_pre [E_target[token] * s ; carried];  layers;  y = norm(x);  carried = W_post y;  logits = E y
  void step(const Batch& batch);
  // Logits of one row of the step (no soft cap), out [vocab]. With a clustered head only the tokens of the row's best
  // clusters (the lowest among equals) have any; the others get -infinity.
  void read_logits(int32_t row, std::span<float> out);
  // [rows, backbone_dim]: what the next step will be given, or after begin() the first.
  TensorView carried() const { return right_half(rows_); }
  const DrafterConfig& config() const { return config_; }
  const ModelDir& dir() const { return dir_; }

 private:
  Drafter(Model& target) : target_(&target), ops_(&target.ops()) {}

  TensorView left_half(int32_t rows) const;
  TensorView right_half(int32_t rows) const;
  TensorView carried_row(int32_t row) const;
  void attention(size_t l, const StepInputs& in, TensorView x, TensorView h);
  void feed_forward(size_t l, TensorView x, TensorView h);
  void clustered_head(TensorView y);
  Result<void> allocate(int32_t rows_max);

  ModelDir dir_;  // first: weights borrow from its mapped files
  Model* target_;
  Ops* ops_;
  DrafterConfig config_;
  DrafterWeights weights_;
  std::vector<KvView> kv_views_;  // by drafter layer, into the target's pages
  int32_t rows_ = 0;              // of the running round
  TensorView input_;              // [rows, 2 * backbone_dim]: embedding | carried
  TensorView x_, h_;              // [rows, dim]
  TensorView q_, attn_;           // [rows, heads * head_dim_max]
  TensorView gate_, up_;          // [rows, ffn_hidden_max]
  TensorView logits_;             // [rows, vocab]; of a clustered head [rows, active_clusters * cluster_tokens]

  // Clustered head.
  TensorView centroid_scores_;            // [rows, clusters]
  std::vector<float> scores_;             // one row of them
  std::vector<int32_t> order_;            // [clusters]
  std::vector<int32_t> active_clusters_;  // [rows * active_clusters], ascending in each row
  std::vector<const QuantizedMatrix*> head_parts_;
  std::vector<TensorView> logit_parts_;
  std::vector<float> active_logits_;  // one row of logits_
};

}  // namespace lapidary
