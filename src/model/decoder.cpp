#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "model/column_range.h"

namespace lapidary {
namespace {

// The batch of these rows alone (ascending), all of whose output is wanted. Soft tokens stay behind: they have entered.
Batch batch_of_rows(const Batch& batch, const std::vector<int32_t>& rows) {
  Batch part;
  for (const Slice& slice : batch.slices) {
    Slice own = slice;
    own.first_row = part.rows();
    for (const int32_t r : rows) {
      if (r < slice.first_row || r >= slice.first_row + slice.rows) continue;
      part.logit_rows.push_back(part.rows());
      part.positions.push_back(batch.positions[static_cast<size_t>(r)]);
      part.block_ends.push_back(batch.block_ends[static_cast<size_t>(r)]);
      part.token_ids.push_back(batch.token_ids[static_cast<size_t>(r)]);
    }
    own.rows = part.rows() - own.first_row;
    if (own.rows > 0) part.slices.push_back(own);
  }
  CHECK(part.token_ids.size() == rows.size());
  return part;
}

}  // namespace

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
  RETURN_IF_ERROR(decoder.allocate(rows_max, logit_rows));
  decoder.kv_views_ = kv_views(config);
  return decoder;
}

Result<void> Decoder::allocate(int32_t rows_max, int32_t logit_rows) {
  const ModelConfig& config = *config_;
  Ops& ops = *ops_;
  DecoderWorkspace& b = workspace_;
  const DType type = ops.activation_type();
  const int32_t q_width = config.heads * config.head_dim_max(),
                mlp_width = std::max(config.ffn_hidden_max(), config.per_layer_dim);
  ASSIGN_OR_RETURN(b.x, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(b.h, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(b.q, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(b.attn, ops.allocate(rows_max, q_width, type));
  ASSIGN_OR_RETURN(b.k, ops.allocate(rows_max, config.kv_width_max(), type));
  ASSIGN_OR_RETURN(b.v, ops.allocate(rows_max, config.kv_width_max(), type));
  ASSIGN_OR_RETURN(b.gate, ops.allocate(rows_max, mlp_width, type));
  ASSIGN_OR_RETURN(b.up, ops.allocate(rows_max, mlp_width, type));
  ASSIGN_OR_RETURN(b.hidden, ops.allocate(rows_max, config.dim, type));
  ASSIGN_OR_RETURN(b.logits, ops.allocate(logit_rows, config.vocab, type));
  if (config.per_layer_dim > 0) {
    const int32_t layers = static_cast<int32_t>(config.layers.size());
    ASSIGN_OR_RETURN(b.per_layer, ops.allocate(rows_max, layers * config.per_layer_dim, type));
    ASSIGN_OR_RETURN(b.layer_input, ops.allocate(rows_max, config.per_layer_dim, type));
  }
  if (config.borrowing_tail() < static_cast<int32_t>(config.layers.size())) {
    ASSIGN_OR_RETURN(b.kept, ops.allocate(rows_max, 1, DType::kI32));
  }
  if (config.experts_max() > 0) {
    const int32_t pairs = rows_max * config.active_experts_max(), hidden = config.expert_hidden_max();
    ASSIGN_OR_RETURN(b.expert_x, ops.allocate(rows_max, config.dim, type));
    ASSIGN_OR_RETURN(b.expert_sum, ops.allocate(rows_max, config.dim, type));
    ASSIGN_OR_RETURN(b.router, ops.allocate(rows_max, config.experts_max(), type));
    ASSIGN_OR_RETURN(b.chosen, ops.allocate(pairs, 1, DType::kI32));
    ASSIGN_OR_RETURN(b.chosen_weights, ops.allocate(pairs, 1, type));
    ASSIGN_OR_RETURN(b.expert.rows, ops.allocate(pairs, 1, DType::kI32));
    ASSIGN_OR_RETURN(b.expert.pairs, ops.allocate(pairs, 1, DType::kI32));
    ASSIGN_OR_RETURN(b.expert.x, ops.allocate(rows_max, config.dim, type));
    ASSIGN_OR_RETURN(b.expert.y, ops.allocate(rows_max, config.dim, type));
    ASSIGN_OR_RETURN(b.expert.gate, ops.allocate(rows_max, hidden, type));
    ASSIGN_OR_RETURN(b.expert.up, ops.allocate(rows_max, hidden, type));
    ASSIGN_OR_RETURN(b.expert.weights, ops.allocate(rows_max, 1, type));
  }
  return {};
}

DecoderWorkspace Decoder::at_size(int32_t rows) const {
  DecoderWorkspace b = workspace_;
  for (TensorView* view : {&b.x, &b.h, &b.q, &b.attn, &b.k, &b.v, &b.gate, &b.up, &b.per_layer, &b.layer_input,
                           &b.expert_x, &b.expert_sum, &b.router})
    *view = packed(*view, view->empty() ? 0 : rows, view->cols);
  b.kept = {};
  return b;
}

void Decoder::forward(const Batch& batch) {
  CHECK(batch.rows() > 0 && batch.rows() <= workspace_.x.rows);
  DecoderWorkspace b = at_size(batch.rows());
  StepInputs in = ops_->upload(batch, config_->attention_rules());
  const int32_t layers = static_cast<int32_t>(config_->layers.size()), tail = config_->borrowing_tail(),
                wanted = static_cast<int32_t>(batch.logit_rows.size());

  ops_->embed(in.token_ids, weights_->embedding, weights_->embedding_scale, b.x);
  for (const SoftRows& soft : batch.soft) {
    ops_->copy(soft.values, row_range(b.x, soft.first_row, soft.values.rows));  // not scaled: only table rows are
  }
  if (config_->per_layer_dim > 0) make_per_layer_inputs(in, b);
  if (probe_) probe_(-1, b.x);

  for (int32_t l = 0; l < layers; ++l) {
    if (l == tail && wanted < batch.rows()) {
      if (wanted == 0) break;  // K and V are written: nobody asks for more
      in = keep_wanted_rows(batch, in, b);
    }
    attention(l, in, b);
    feed_forward(l, b);
    if (config_->per_layer_dim > 0) add_per_layer_input(l, b);
    ops_->scale(weights_->layers[static_cast<size_t>(l)].output_scale, b.x);  // the whole stream, residual included
    if (probe_) probe_(l, b.x);
  }

  hidden_ = row_range(workspace_.hidden, 0, wanted);
  if (wanted > 0) {
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
  if (s.moe) experts(*s.moe, *w.moe, b);
  ops_->add_rms_norm(b.h, w.post_ffn_norm, config_->rms_eps, b.x);  // x += norm(h)
}

// h = norm(h) + norm(what the chosen experts say): h holds the dense network's answer to the same stream x.
void Decoder::experts(const MoeSpec& moe, const MoeWeights& w, const DecoderWorkspace& b) {
  const float eps = config_->rms_eps;
  const TensorView chosen = packed(b.chosen, b.x.rows * moe.active, 1),
                   weights = packed(b.chosen_weights, chosen.rows, 1);

  ops_->rms_norm(b.x, w.router_scale, eps, b.expert_x);  // the router reads the stream itself, not the experts' input
  ops_->project(b.expert_x, std::array{&w.router}, std::array{b.router});
  ops_->route(b.router, w.expert_scale, moe.active, chosen, weights);
  ops_->rms_norm(b.x, w.experts_norm, eps, b.expert_x);
  ops_->experts(b.expert_x, w.experts, chosen, weights, b.expert, b.expert_sum);
  ops_->rms_norm(b.expert_sum, w.post_experts_norm, eps, b.expert_sum);
  ops_->rms_norm(b.h, w.post_dense_norm, eps, b.h);
  ops_->add(b.expert_sum, b.h);
}

// For every layer at once: (norm(projection * x / sqrt(dim)) + table[id]) / sqrt(2). x has its soft tokens by now, and
// their ids are the padding token's.
void Decoder::make_per_layer_inputs(const StepInputs& in, const DecoderWorkspace& b) {
  const PerLayerInputWeights& w = weights_->per_layer_inputs;
  const TensorView by_layer = split_heads(b.per_layer, config_->per_layer_dim);
  ops_->project(b.x, std::array{&w.projection}, std::array{b.per_layer});
  ops_->scale(1.0f / std::sqrt(static_cast<float>(config_->dim)), b.per_layer);  // before the norm: its eps sees it
  ops_->rms_norm(by_layer, w.norm, config_->rms_eps, by_layer);
  ops_->add_rows(w.table, in.token_ids, b.per_layer);
  ops_->scale(std::sqrt(0.5f), b.per_layer);
}

void Decoder::add_per_layer_input(int32_t l, const DecoderWorkspace& b) {
  const PerLayerWeights& w = weights_->layers[static_cast<size_t>(l)].per_layer;
  const int32_t dim = config_->per_layer_dim;
  const TensorView gate = packed(b.gate, b.x.rows, dim);
  TensorView input = column_range(b.per_layer, l * dim, dim);
  if (!b.kept.empty()) {
    ops_->gather_rows(input, b.kept, b.layer_input);
    input = b.layer_input;
  }
  ops_->project(b.x, std::array{&w.gate}, std::array{gate});
  ops_->gelu_mul(gate, input, gate);  // gate = gelu(gate) * input
  ops_->project(gate, std::array{&w.out}, std::array{b.h});
  ops_->add_rms_norm(b.h, w.post_norm, config_->rms_eps, b.x);  // x += norm(h)
}

// Goes on with the rows whose output is wanted: they move to the front of the stream, and the inputs returned are
// theirs.
StepInputs Decoder::keep_wanted_rows(const Batch& batch, const StepInputs& in, DecoderWorkspace& b) {
  const int32_t wanted = static_cast<int32_t>(batch.logit_rows.size());
  const TensorView all_per_layer = b.per_layer, rows = row_range(workspace_.hidden, 0, wanted);
  ops_->gather_rows(b.x, in.logit_rows, rows);
  b = at_size(wanted);
  ops_->copy(rows, b.x);
  b.per_layer = all_per_layer;
  b.kept = packed(workspace_.kept, wanted, 1);
  ops_->write_ids(batch.logit_rows, b.kept);
  return ops_->upload(batch_of_rows(batch, batch.logit_rows), config_->attention_rules());
}

TensorView Decoder::head(int32_t first, int32_t rows) {
  CHECK(rows <= workspace_.logits.rows);
  const TensorView logits = row_range(workspace_.logits, 0, rows);
  ops_->project(row_range(hidden_, first, rows), std::array{&weights_->embedding}, std::array{logits});
  if (config_->final_softcap > 0) ops_->softcap(config_->final_softcap, logits);
  return logits;
}

}  // namespace lapidary
