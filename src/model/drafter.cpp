#include "model/drafter.h"

#include <array>

#include "base/check.h"

namespace lapidary {

Result<std::unique_ptr<Drafter>> Drafter::open(const std::filesystem::path& path, Model& target, int32_t rows_max) {
  std::unique_ptr<Drafter> drafter(new Drafter(target));
  Drafter& d = *drafter;
  Ops& ops = target.ops();
  ASSIGN_OR_RETURN(d.dir_, open_model_dir(path));
  ASSIGN_OR_RETURN(d.config_, read_drafter_config(d.dir_.config, d.dir_.file("config.json"), target.config()));
  ASSIGN_OR_RETURN(d.weights_, bind_drafter_weights(d.dir_.weights, d.config_, d.dir_.path.string(), ops));
  const DrafterConfig& config = d.config_;
  const DType type = ops.activation_type();
  const int32_t q_width = config.heads * config.head_dim_max();
  ASSIGN_OR_RETURN(d.input_, ops.allocate(rows_max, 2 * config.backbone_dim, type));
  ASSIGN_OR_RETURN(d.x_, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(d.h_, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(d.q_, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(d.attn_, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(d.gate_, ops.allocate(rows_max, config.ffn_hidden_max(), type));
  ASSIGN_OR_RETURN(d.up_, ops.allocate(rows_max, config.ffn_hidden_max(), type));
  ASSIGN_OR_RETURN(d.logits_, ops.allocate(rows_max, config.vocab, type));
  const std::vector<KvView> target_views = kv_views(target.config());
  for (const LayerSpec& layer : config.layers)
    d.kv_views_.push_back(target_views[static_cast<size_t>(layer.kv_source)]);
  return drafter;
}

TensorView Drafter::left_half(int32_t rows) const {
  TensorView half = row_range(input_, 0, rows);
  half.cols = config_.backbone_dim;
  return half;
}

TensorView Drafter::right_half(int32_t rows) const {
  TensorView half = left_half(rows);
  half.data = static_cast<std::byte*>(half.data) + static_cast<int64_t>(half.cols) * dtype_bytes(half.dtype);
  return half;
}

void Drafter::begin(TensorView hidden) {
  CHECK(hidden.rows > 0 && hidden.rows <= input_.rows && hidden.cols == config_.backbone_dim);
  rows_ = hidden.rows;
  ops_->copy(hidden, right_half(rows_));
}

TensorView Drafter::step(const Batch& batch) {
  CHECK(batch.rows() == rows_);
  const StepInputs in = ops_->upload(batch, target_->config().attention_rules());
  const TensorView x = row_range(x_, 0, rows_), h = row_range(h_, 0, rows_);
  const TensorView logits = row_range(logits_, 0, rows_);

  // The target's table, scaled as for the target; the drafter's own table is only its head.
  ops_->embed(in.token_ids, target_->weights().embedding, target_->weights().embedding_scale, left_half(rows_));
  ops_->project(row_range(input_, 0, rows_), std::array{&weights_.pre_projection}, std::array{x});
  for (size_t l = 0; l < config_.layers.size(); ++l) {
    attention(l, in, x, h);
    feed_forward(l, x, h);
    ops_->scale(weights_.layers[l].output_scale, x);
  }
  ops_->rms_norm(x, weights_.final_norm, config_.rms_eps, h);
  ops_->project(h, std::array{&weights_.post_projection, &weights_.head}, std::array{right_half(rows_), logits});
  return logits;
}

void Drafter::attention(size_t l, const StepInputs& in, TensorView x, TensorView h) {
  const LayerSpec& s = config_.layers[l];
  const LayerWeights& w = weights_.layers[l];
  const AttentionPlan& plan = *in.plan[static_cast<size_t>(s.attention)];
  const TensorView q = packed(q_, rows_, config_.heads * s.head_dim), attn = packed(attn_, rows_, q.cols);

  ops_->rms_norm(x, w.attn_norm, config_.rms_eps, h);
  ops_->project(h, std::array{&w.q}, std::array{q});
  ops_->norm_rope(split_heads(q, s.head_dim), w.q_norm, config_.rms_eps, s.rope, in.positions);
  ops_->attention(q, kv_views_[l], plan, attn);  // K and V as the target keeps them: normalised and turned
  ops_->project(attn, std::array{&w.o}, std::array{h});
  ops_->add_rms_norm(h, w.post_attn_norm, config_.rms_eps, x);
}

void Drafter::feed_forward(size_t l, TensorView x, TensorView h) {
  const LayerSpec& s = config_.layers[l];
  const LayerWeights& w = weights_.layers[l];
  const TensorView gate = packed(gate_, rows_, s.ffn_hidden), up = packed(up_, rows_, s.ffn_hidden);

  ops_->rms_norm(x, w.ffn_norm, config_.rms_eps, h);
  ops_->project(h, std::array{&w.mlp.gate, &w.mlp.up}, std::array{gate, up});
  ops_->gelu_mul(gate, up, gate);
  ops_->project(gate, std::array{&w.mlp.down}, std::array{h});
  ops_->add_rms_norm(h, w.post_ffn_norm, config_.rms_eps, x);
}

}  // namespace lapidary
