#include <fmt/format.h>

#include "model/drafter_weights.h"
#include "model/weight_binder.h"

namespace lapidary {
namespace {

// A drafter's layer: the norms, queries and feed-forward of any other, without K and V.
LayerWeights bind_drafter_layer(WeightBinder& bind, const std::string& prefix, const DrafterConfig& config,
                                const LayerSpec& spec) {
  const int64_t dim = config.dim, q_width = static_cast<int64_t>(config.heads) * spec.head_dim;
  LayerWeights w;
  w.attn_norm = bind.vector(prefix + "input_layernorm.weight", dim);
  w.post_attn_norm = bind.vector(prefix + "post_attention_layernorm.weight", dim);
  w.ffn_norm = bind.vector(prefix + "pre_feedforward_layernorm.weight", dim);
  w.post_ffn_norm = bind.vector(prefix + "post_feedforward_layernorm.weight", dim);
  w.q = bind.matrix(prefix + "self_attn.q_proj.weight", q_width, dim);
  w.o = bind.matrix(prefix + "self_attn.o_proj.weight", dim, q_width);
  w.q_norm = bind.vector(prefix + "self_attn.q_norm.weight", spec.head_dim);
  w.mlp.gate = bind.matrix(prefix + "mlp.gate_proj.weight", spec.ffn_hidden, dim);
  w.mlp.up = bind.matrix(prefix + "mlp.up_proj.weight", spec.ffn_hidden, dim);
  w.mlp.down = bind.matrix(prefix + "mlp.down_proj.weight", dim, spec.ffn_hidden);
  w.output_scale = bind.scalar(prefix + "layer_scalar");
  return w;
}

}  // namespace

Result<DrafterWeights> bind_drafter_weights(const Checkpoint& checkpoint, const DrafterConfig& config,
                                            std::string_view source, Ops& ops) {
  WeightBinder bind(checkpoint, source, ops);
  DrafterWeights w;
  w.pre_projection = bind.matrix("pre_projection.weight", config.dim, 2LL * config.backbone_dim);
  w.post_projection = bind.matrix("post_projection.weight", config.backbone_dim, config.dim);
  w.head = bind.matrix("model.embed_tokens.weight", config.vocab, config.dim);
  w.final_norm = bind.vector("model.norm.weight", config.dim);
  for (size_t l = 0; l < config.layers.size(); ++l) {
    w.layers.push_back(bind_drafter_layer(bind, fmt::format("model.layers.{}.", l), config, config.layers[l]));
  }
  RETURN_IF_ERROR(bind.finish());
  return w;
}

}  // namespace lapidary
