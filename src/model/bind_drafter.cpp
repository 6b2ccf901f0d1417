#include <fmt/format.h>

#include <vector>

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

ClusterWeights bind_clusters(WeightBinder& bind, const std::string& head_name, const DrafterConfig& config) {
  const std::string order_name = "masked_embedding.token_ordering";
  ClusterWeights w;
  w.centroids = bind.matrix("masked_embedding.centroids.weight", config.clusters, config.dim);
  w.tokens = bind.indices(order_name, config.vocab, config.vocab);
  const QuantizedMatrix head = bind.table(head_name, config.vocab, config.dim);
  if (w.tokens.empty() || head.empty()) return w;
  std::vector<bool> seen(w.tokens.size());
  for (const int32_t token : w.tokens) {
    if (seen[static_cast<size_t>(token)]) {
      bind.reject(fmt::format("{}: token {} stands in it twice", order_name, token));
      return w;
    }
    seen[static_cast<size_t>(token)] = true;
  }
  w.heads = bind.regrouped(head_name, head, w.tokens, config.cluster_tokens(), w.storage);
  return w;
}

}  // namespace

Result<DrafterWeights> bind_drafter_weights(const Checkpoint& checkpoint, const DrafterConfig& config,
                                            std::string_view source, Ops& ops) {
  WeightBinder bind(checkpoint, source, ops);
  DrafterWeights w;
  w.pre_projection = bind.matrix("pre_projection.weight", config.dim, 2LL * config.backbone_dim);
  w.post_projection = bind.matrix("post_projection.weight", config.backbone_dim, config.dim);
  const std::string head = "model.embed_tokens.weight";
  if (config.clusters > 0) {
    w.clusters = bind_clusters(bind, head, config);
  } else {
    w.head = bind.matrix(head, config.vocab, config.dim);
  }
  w.final_norm = bind.vector("model.norm.weight", config.dim);
  for (size_t l = 0; l < config.layers.size(); ++l) {
    w.layers.push_back(bind_drafter_layer(bind, fmt::format("model.layers.{}.", l), config, config.layers[l]));
  }
  RETURN_IF_ERROR(bind.finish());
  return w;
}

}  // namespace lapidary
