#include "model/drafter.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "model/column_range.h"

namespace lapidary {

Result<std::unique_ptr<Drafter>> Drafter::open(const std::filesystem::path& path, Model& target, int32_t rows_max) {
  std::unique_ptr<Drafter> drafter(new Drafter(target));
  Drafter& d = *drafter;
  ASSIGN_OR_RETURN(d.dir_, open_model_dir(path));
  ASSIGN_OR_RETURN(d.config_, read_drafter_config(d.dir_.config, d.dir_.file("config.json"), target.config()));
  ASSIGN_OR_RETURN(d.weights_, bind_drafter_weights(d.dir_.weights, d.config_, d.dir_.path.string(), target.ops()));
  RETURN_IF_ERROR(d.allocate(rows_max));
  const std::vector<KvView> target_views = kv_views(target.config());
  for (const LayerSpec& layer : d.config_.layers)
    d.kv_views_.push_back(target_views[static_cast<size_t>(layer.kv_source)]);
  return drafter;
}

Result<void> Drafter::allocate(int32_t rows_max) {
  const DrafterConfig& config = config_;
  Ops& ops = *ops_;
  const DType type = ops.activation_type();
  const int32_t q_width = config.heads * config.head_dim_max();
  ASSIGN_OR_RETURN(input_, ops.allocate(rows_max, 2 * config.backbone_dim, type));
  ASSIGN_OR_RETURN(x_, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(h_, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(q_, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(attn_, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(gate_, ops.allocate(rows_max, config.ffn_hidden_max(), type));
  ASSIGN_OR_RETURN(up_, ops.allocate(rows_max, config.ffn_hidden_max(), type));
  const int32_t active = config.active_clusters, scored = active * config.cluster_tokens();
  ASSIGN_OR_RETURN(logits_, ops.allocate(rows_max, config.clusters > 0 ? scored : config.vocab, type));
  if (config.clusters == 0) return {};
  ASSIGN_OR_RETURN(centroid_scores_, ops.allocate(rows_max, config.clusters, type));
  scores_.resize(static_cast<size_t>(config.clusters));
  order_.resize(static_cast<size_t>(config.clusters));
  active_clusters_.resize(static_cast<size_t>(rows_max) * static_cast<size_t>(active));
  head_parts_.resize(static_cast<size_t>(active));
  logit_parts_.resize(static_cast<size_t>(active));
  active_logits_.resize(static_cast<size_t>(scored));
  return {};
}

TensorView Drafter::left_half(int32_t rows) const {
  return column_range(row_range(input_, 0, rows), 0, config_.backbone_dim);
}

TensorView Drafter::right_half(int32_t rows) const {
  return column_range(row_range(input_, 0, rows), config_.backbone_dim, config_.backbone_dim);
}

void Drafter::begin(TensorView hidden) {
  CHECK(hidden.rows > 0 && hidden.rows <= input_.rows && hidden.cols == config_.backbone_dim);
  rows_ = hidden.rows;
  ops_->copy(hidden, right_half(rows_));
}

TensorView Drafter::carried_row(int32_t row) const {
  return column_range(row_range(input_, row, 1), config_.backbone_dim, config_.backbone_dim);
}

void Drafter::begin(std::span<const TensorView> hidden) {
  rows_ = static_cast<int32_t>(hidden.size());
  CHECK(rows_ > 0 && rows_ <= input_.rows);
  for (int32_t r = 0; r < rows_; ++r) {
    const TensorView& row = hidden[static_cast<size_t>(r)];
    CHECK(row.rows == 1 && row.cols == config_.backbone_dim);
    ops_->copy(row, carried_row(r));
  }
}

void Drafter::keep(std::span<const int32_t> rows) {
  int32_t kept = 0;
  for (const int32_t row : rows) {
    CHECK(row >= kept && row < rows_);
    if (row > kept) ops_->copy(carried_row(row), carried_row(kept));
    ++kept;
  }
  rows_ = kept;
}

void Drafter::step(const Batch& batch) {
  CHECK(batch.rows() == rows_);
  const StepInputs in = ops_->upload(batch, target_->config().attention_rules());
  const TensorView x = row_range(x_, 0, rows_), h = row_range(h_, 0, rows_);

  // The target's table, scaled as for the target; the drafter's own table is only its head.
  ops_->embed(in.token_ids, target_->weights().embedding, target_->weights().embedding_scale, left_half(rows_));
  ops_->project(row_range(input_, 0, rows_), std::array{&weights_.pre_projection}, std::array{x});
  for (size_t l = 0; l < config_.layers.size(); ++l) {
    attention(l, in, x, h);
    feed_forward(l, x, h);
    ops_->scale(weights_.layers[l].output_scale, x);
  }
  ops_->rms_norm(x, weights_.final_norm, config_.rms_eps, h);
  const bool clustered = config_.clusters > 0;
  const TensorView scores = row_range(clustered ? centroid_scores_ : logits_, 0, rows_);
  ops_->project(h, std::array{&weights_.post_projection, clustered ? &weights_.clusters.centroids : &weights_.head},
                std::array{right_half(rows_), scores});
  if (clustered) clustered_head(h);
}

// Every row by itself: rows choose different clusters. As Gemma4AssistantMaskedEmbedder of the reference, but for the
// tokens that are not scored: there they get the least score minus one, here they cannot be drafted.
void Drafter::clustered_head(TensorView y) {
  const int32_t active = config_.active_clusters, tokens = config_.cluster_tokens();
  for (int32_t r = 0; r < rows_; ++r) {
    ops_->read(row_range(centroid_scores_, r, 1), scores_);
    std::iota(order_.begin(), order_.end(), 0);
    const auto better = [&](int32_t a, int32_t b) {
      const float x = scores_[static_cast<size_t>(a)], z = scores_[static_cast<size_t>(b)];
      return x != z ? x > z : a < b;
    };
    std::nth_element(order_.begin(), order_.begin() + (active - 1), order_.end(), better);
    std::sort(order_.begin(), order_.begin() + active);
    std::copy_n(order_.begin(), active, active_clusters_.begin() + static_cast<std::ptrdiff_t>(r) * active);
    for (int32_t i = 0; i < active; ++i) {
      head_parts_[static_cast<size_t>(i)] =
          &weights_.clusters.heads[static_cast<size_t>(order_[static_cast<size_t>(i)])];
      logit_parts_[static_cast<size_t>(i)] = column_range(row_range(logits_, r, 1), i * tokens, tokens);
    }
    ops_->project(row_range(y, r, 1), head_parts_, logit_parts_);
  }
}

void Drafter::read_logits(int32_t row, std::span<float> out) {
  CHECK(row >= 0 && row < rows_ && out.size() == static_cast<size_t>(config_.vocab));
  if (config_.clusters == 0) {
    ops_->read(row_range(logits_, row, 1), out);
    return;
  }
  ops_->read(row_range(logits_, row, 1), active_logits_);
  std::fill(out.begin(), out.end(), -std::numeric_limits<float>::infinity());
  const size_t active = static_cast<size_t>(config_.active_clusters),
               tokens = static_cast<size_t>(config_.cluster_tokens());
  for (size_t i = 0; i < active; ++i) {
    const size_t cluster = static_cast<size_t>(active_clusters_[static_cast<size_t>(row) * active + i]);
    for (size_t t = 0; t < tokens; ++t) {
      out[static_cast<size_t>(weights_.clusters.tokens[cluster * tokens + t])] = active_logits_[i * tokens + t];
    }
  }
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
