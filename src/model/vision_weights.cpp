#include "model/vision_weights.h"

#include <fmt/format.h>

namespace lapidary {
namespace {

VisionLayerWeights bind_layer(WeightBinder& bind, const std::string& prefix, const VisionTowerConfig& config) {
  const int64_t dim = config.dim, width = static_cast<int64_t>(config.heads) * config.head_dim;
  const auto linear = [&](const char* name, int64_t out, int64_t in) {
    return bind.linear(prefix + name, out, in, config.clipped);
  };
  VisionLayerWeights w;
  w.attn_norm = bind.vector(prefix + "input_layernorm.weight", dim);
  w.post_attn_norm = bind.vector(prefix + "post_attention_layernorm.weight", dim);
  w.ffn_norm = bind.vector(prefix + "pre_feedforward_layernorm.weight", dim);
  w.post_ffn_norm = bind.vector(prefix + "post_feedforward_layernorm.weight", dim);
  w.q_norm = bind.vector(prefix + "self_attn.q_norm.weight", config.head_dim);
  w.k_norm = bind.vector(prefix + "self_attn.k_norm.weight", config.head_dim);
  w.q = linear("self_attn.q_proj", width, dim);
  w.k = linear("self_attn.k_proj", width, dim);
  w.v = linear("self_attn.v_proj", width, dim);
  w.o = linear("self_attn.o_proj", dim, width);
  w.gate = linear("mlp.gate_proj", config.ffn_hidden, dim);
  w.up = linear("mlp.up_proj", config.ffn_hidden, dim);
  w.down = linear("mlp.down_proj", dim, config.ffn_hidden);
  return w;
}

}  // namespace

VisionTowerWeights bind_vision_tower(WeightBinder& bind, const VisionTowerConfig& config, int32_t decoder_dim) {
  const auto name = [&](const std::string& part) { return bind.first_of({"model." + part, part}); };
  const std::string embedder = "vision_tower.patch_embedder.";
  VisionTowerWeights w;
  w.patch = bind.matrix(name(embedder + "input_proj.weight"), config.dim, config.patch_values());
  w.positions = bind.as_matrix(name(embedder + "position_embedding_table"), {2, config.positions, config.dim},
                               2LL * config.positions, config.dim);
  const std::string first_norm = "vision_tower.encoder.layers.0.input_layernorm.weight", found = name(first_norm);
  const std::string prefix = found.substr(0, found.size() - first_norm.size());
  for (int32_t l = 0; l < config.layers; ++l) {
    w.layers.push_back(bind_layer(bind, fmt::format("{}vision_tower.encoder.layers.{}.", prefix, l), config));
  }
  if (config.standardised) {
    w.minus_shift = bind.vector(name("vision_tower.std_bias"), config.dim, -1.0f);
    w.column_scale = bind.vector(name("vision_tower.std_scale"), config.dim);
  }
  w.projection = bind.matrix(name("embed_vision.embedding_projection.weight"), decoder_dim, config.dim);
  return w;
}

}  // namespace lapidary
