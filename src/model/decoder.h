// Decoder: the text forward pass, written once over Ops. The file a newcomer reads first.
#pragma once

#include <functional>
#include <string_view>

#include "model/config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

// Everything a step writes to, sized once for the largest step.
struct DecoderWorkspace {
  TensorView x, h;      // [rows, dim]: the residual stream; a sub-layer's input and output
  TensorView q, attn;   // [rows, heads * head_dim_max]
  TensorView k, v;      // [rows, kv_width_max]
  TensorView gate, up;  // [rows, ffn_hidden_max], or per_layer_dim where that is more
  TensorView hidden;    // [rows, dim]: stream after the final norm, at the rows whose logits are wanted
  TensorView logits;    // [logit_rows, vocab]

  // Per-layer inputs: all of them [all rows, layers * per_layer_dim], and one layer's at the kept rows.
  TensorView per_layer, layer_input;
  TensorView kept;  // [rows, 1] kI32: once rows were dropped, which of all rows are left; empty before

  // Experts.
  TensorView expert_x, expert_sum;    // [rows, dim]: what router and experts read; what the experts say
  TensorView router;                  // [rows, experts]
  TensorView chosen, chosen_weights;  // [rows * active, 1]
  ExpertWorkspace expert;
};

class Decoder {
 public:
  // Called with the layer's index (-1 for the embeddings) and the residual stream [rows, dim]; for golden tests. In
  // layers that borrow K and V the rows are the wanted ones.
  using LayerProbe = std::function<void(int32_t layer, TensorView x)>;

  // logit_rows: how many rows of logits head() makes at a time. Errors: kExhausted.
  static Result<Decoder> create(const ModelConfig& config, const ModelWeights& weights, Ops& ops, int32_t rows_max,
                                int32_t logit_rows);

  // Runs the layers over the batch. Afterwards hidden() holds [batch.logit_rows, dim]. The last layers, where they all
  // borrow K and V and so leave nothing to later steps, run for batch.logit_rows only.
  void forward(const Batch& batch);
  // After the final norm: what the output head and a drafter read.
  TensorView hidden() const { return hidden_; }
  // Soft-capped logits of hidden rows [first, first + rows), rows <= logit_rows; valid until the next call.
  TensorView head(int32_t first, int32_t rows);
  int32_t logit_rows() const { return workspace_.logits.rows; }

  void set_probe(LayerProbe probe) { probe_ = std::move(probe); }

 private:
  Decoder(const ModelConfig& config, const ModelWeights& weights, Ops& ops)
      : config_(&config), weights_(&weights), ops_(&ops) {}

  void attention(int32_t l, const StepInputs& in, const DecoderWorkspace& b);
  void feed_forward(int32_t l, const DecoderWorkspace& b);
  void experts(const MoeSpec& moe, const MoeWeights& w, const DecoderWorkspace& b);
  void make_per_layer_inputs(const StepInputs& in, const DecoderWorkspace& b);
  void add_per_layer_input(int32_t l, const DecoderWorkspace& b);
  StepInputs keep_wanted_rows(const Batch& batch, const StepInputs& in, DecoderWorkspace& b);
  Result<void> allocate(int32_t rows_max, int32_t logit_rows);
  DecoderWorkspace at_size(int32_t rows) const;

  const ModelConfig* config_;
  const ModelWeights* weights_;
  Ops* ops_;
  DecoderWorkspace workspace_;
  std::vector<KvView> kv_views_;  // by layer
  TensorView hidden_;
  LayerProbe probe_;
};

// The K/V shape of a model, with no pages yet; and where each layer lies in it.
KvLayout kv_layout(const ModelConfig& config);
std::vector<KvView> kv_views(const ModelConfig& config);

}  // namespace lapidary
