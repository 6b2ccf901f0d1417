#include "model/decoder.h"

#include <algorithm>
#include <array>

namespace lapidary {

KvLayout kv_layout(const ModelConfig& config) {
  KvLayout layout;
  for (size_t l = 0; l < config.layers.size(); ++l) {
    const LayerSpec& spec = config.layers[l];
    if (spec.kv_source != static_cast<int32_t>(l)) continue;
    layout.groups[static_cast<size_t>(spec.attention)].layers.push_back({spec.head_dim, spec.kv_heads});
  }
  return layout;
}

std::vector<KvView> kv_views(const ModelConfig& config) {
  std::vector<KvView> views;
  std::array<int32_t, kAttentionKinds> next{};
  for (size_t l = 0; l < config.layers.size(); ++l) {
    const LayerSpec& spec = config.layers[l];
    const int32_t group = static_cast<int32_t>(spec.attention);
    if (spec.kv_source == static_cast<int32_t>(l)) {
      views.push_back({group, next[static_cast<size_t>(group)]++, spec.head_dim, spec.kv_heads});
    } else {
      views.push_back(views[static_cast<size_t>(spec.kv_source)]);
    }
  }
  return views;
}

Result<Decoder> Decoder::create(const ModelConfig& config, const ModelWeights& weights, Ops& ops, int32_t rows_max,
                                int32_t logit_rows) {
  Decoder decoder(config, weights, ops);
  DecoderWorkspace& b = decoder.workspace_;
  const DType type = ops.activation_type();
  const int32_t q_width = config.heads * config.head_dim_max();
  ASSIGN_OR_RETURN(b.x, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(b.h, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(b.q, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(b.attn, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(b.k, ops.allocate(rows_max, config.kv_width_max(), type));
  ASSIGN_OR_RETURN(b.v, ops.allocate(rows_max, config.kv_width_max(), type));
  ASSIGN_OR_RETURN(b.gate, ops.allocate(rows_max, config.ffn_hidden_max(), type));
  ASSIGN_OR_RETURN(b.up, ops.allocate(rows_max, config.ffn_hidden_max(), type));
  ASSIGN_OR_RETURN(b.hidden, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(b.logits, ops.allocate(logit_rows, config.vocab, type));
  decoder.kv_views_ = kv_views(config);
  return decoder;
}

DecoderWorkspace Decoder::at_size(int32_t rows) const {
  DecoderWorkspace b = workspace_;
  for (TensorView* view : {&b.x, &b.h, &b.q, &b.attn, &b.k, &b.v, &b.gate, &b.up})
    *view = packed(*view, rows, view->cols);
  return b;
}

void Decoder::forward(const Batch& batch) {
  CHECK(batch.rows() > 0 && batch.rows() <= workspace_.x.rows);
  DecoderWorkspace b = at_size(batch.rows());
  const StepInputs in = ops_->upload(batch, config_->attention_rules());

  ops_->embed(in.token_ids, weights_->embedding, weights_->embedding_scale, b.x);
  for (const SoftRows& soft : batch.soft) {
    ops_->copy(soft.values, row_range(b.x, soft.first_row, soft.values.rows));  // not scaled: only table rows are
  }
  if (probe_) probe_(-1, b.x);

  for (int32_t l = 0; l < static_cast<int32_t>(config_->layers.size()); ++l) {
    attention(l, in, b);
    feed_forward(l, b);
    ops_->scale(weights_->layers[static_cast<size_t>(l)].output_scale, b.x);  // the whole stream, residual included
    if (probe_) probe_(l, b.x);
  }

  hidden_ = row_range(workspace_.hidden, 0, static_cast<int32_t>(batch.logit_rows.size()));
  if (hidden_.rows > 0) {
    ops_->gather_rows(b.x, in.logit_rows, hidden_);
    ops_->rms_norm(hidden_, weights_->final_norm, config_->rms_eps, hidden_);
  }
}

void Decoder::attention(int32_t l, const StepInputs& in, const DecoderWorkspace& b) {
  const LayerSpec& s = config_->layers[static_cast<size_t>(l)];
  const LayerWeights& w = weights_->layers[static_cast<size_t>(l)];
  const AttentionPlan& plan = *in.plan[static_cast<size_t>(s.attention)];
  const KvView kv = kv_views_[static_cast<size_t>(l)];
  const float eps = config_->rms_eps;
  const TensorView q = packed(b.q, b.x.rows, config_->heads * s.head_dim), attn = packed(b.attn, b.x.rows, q.cols);
  const TensorView k = packed(b.k, b.x.rows, s.kv_heads * s.head_dim), v = packed(b.v, b.x.rows, k.cols);

  ops_->rms_norm(b.x, w.attn_norm, eps, b.h);
  if (s.kv_source != l) {
    ops_->project(b.h, std::array{&w.q}, std::array{q});  // K and V were written by layer kv_source
  } else {
    if (s.values_from_keys) {
      ops_->project(b.h, std::array{&w.q, &w.k}, std::array{q, k});
      ops_->rms_norm(split_heads(k, s.head_dim), {}, eps, split_heads(v, s.head_dim));  // before K is scaled and turned
    } else {
      ops_->project(b.h, std::array{&w.q, &w.k, &w.v}, std::array{q, k, v});
      ops_->rms_norm(split_heads(v, s.head_dim), {}, eps, split_heads(v, s.head_dim));
    }
    ops_->norm_rope(split_heads(k, s.head_dim), w.k_norm, eps, s.rope, in.positions);
    ops_->kv_write(kv, k, v, plan);
  }
  ops_->norm_rope(split_heads(q, s.head_dim), w.q_norm, eps, s.rope, in.positions);
  ops_->attention(q, kv, plan, attn);
  ops_->project(attn, std::array{&w.o}, std::array{b.h});
  ops_->add_rms_norm(b.h, w.post_attn_norm, eps, b.x);  // x += norm(h)
}

void Decoder::feed_forward(int32_t l, const DecoderWorkspace& b) {
  const LayerSpec& s = config_->layers[static_cast<size_t>(l)];
  const LayerWeights& w = weights_->layers[static_cast<size_t>(l)];
  const TensorView gate = packed(b.gate, b.x.rows, s.ffn_hidden), up = packed(b.up, b.x.rows, s.ffn_hidden);

  ops_->rms_norm(b.x, w.ffn_norm, config_->rms_eps, b.h);
  ops_->project(b.h, std::array{&w.mlp.gate, &w.mlp.up}, std::array{gate, up});
  ops_->gelu_mul(gate, up, gate);  // gate = gelu(gate) * up
  ops_->project(gate, std::array{&w.mlp.down}, std::array{b.h});
  ops_->add_rms_norm(b.h, w.post_ffn_norm, config_->rms_eps, b.x);  // x += norm(h)
}

TensorView Decoder::head(int32_t first, int32_t rows) {
  CHECK(rows <= workspace_.logits.rows);
  const TensorView logits = row_range(workspace_.logits, 0, rows);
  ops_->project(row_range(hidden_, first, rows), std::array{&weights_->embedding}, std::array{logits});
  if (config_->final_softcap > 0) ops_->softcap(config_->final_softcap, logits);
  return logits;
}

}  // namespace lapidary
