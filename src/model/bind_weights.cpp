#include <fmt/format.h>

#include <cmath>

#include "model/audio_weights.h"
#include "model/vision_weights.h"
#include "model/weight_binder.h"
#include "model/weight_counts.h"
#include "model/weights.h"

namespace lapidary {
namespace {

MoeWeights bind_experts(WeightBinder& bind, const std::string& prefix, const MoeSpec& moe, int32_t dim) {
  MoeWeights w;
  w.router_scale = bind.vector(prefix + "router.scale", dim, 1.0f / std::sqrt(static_cast<float>(dim)));
  w.router = bind.matrix(prefix + "router.proj.weight", moe.experts, dim);
  w.expert_scale = bind.vector(prefix + "router.per_expert_scale", moe.experts);
  w.post_dense_norm = bind.vector(prefix + "post_feedforward_layernorm_1.weight", dim);
  w.experts_norm = bind.vector(prefix + "pre_feedforward_layernorm_2.weight", dim);
  w.post_experts_norm = bind.vector(prefix + "post_feedforward_layernorm_2.weight", dim);
  w.experts = bind.experts(prefix, moe, dim);
  return w;
}

// l: the layer's index. A layer that borrows K and V has no use for its own, which the first releases still ship.
LayerWeights bind_layer(WeightBinder& bind, const std::string& prefix, const ModelConfig& config, int32_t l) {
  const LayerSpec& spec = config.layers[static_cast<size_t>(l)];
  const int64_t dim = config.dim, q_width = static_cast<int64_t>(config.heads) * spec.head_dim,
                kv_width = static_cast<int64_t>(spec.kv_heads) * spec.head_dim;
  LayerWeights w;
  w.attn_norm = bind.vector(prefix + "input_layernorm.weight", dim);
  w.post_attn_norm = bind.vector(prefix + "post_attention_layernorm.weight", dim);
  w.ffn_norm = bind.vector(prefix + "pre_feedforward_layernorm.weight", dim);
  w.post_ffn_norm = bind.vector(prefix + "post_feedforward_layernorm.weight", dim);
  w.q = bind.matrix(prefix + "self_attn.q_proj.weight", q_width, dim);
  if (spec.kv_source == l) {
    w.k = bind.matrix(prefix + "self_attn.k_proj.weight", kv_width, dim);
    w.k_norm = bind.vector(prefix + "self_attn.k_norm.weight", spec.head_dim);
    if (!spec.values_from_keys) w.v = bind.matrix(prefix + "self_attn.v_proj.weight", kv_width, dim);
  }
  w.o = bind.matrix(prefix + "self_attn.o_proj.weight", dim, q_width);
  w.q_norm = bind.vector(prefix + "self_attn.q_norm.weight", spec.head_dim);
  w.mlp.gate = bind.matrix(prefix + "mlp.gate_proj.weight", spec.ffn_hidden, dim);
  w.mlp.up = bind.matrix(prefix + "mlp.up_proj.weight", spec.ffn_hidden, dim);
  w.mlp.down = bind.matrix(prefix + "mlp.down_proj.weight", dim, spec.ffn_hidden);
  if (spec.moe) w.moe = bind_experts(bind, prefix, *spec.moe, config.dim);
  if (config.per_layer_dim > 0) {
    w.per_layer.gate = bind.matrix(prefix + "per_layer_input_gate.weight", config.per_layer_dim, dim);
    w.per_layer.out = bind.matrix(prefix + "per_layer_projection.weight", dim, config.per_layer_dim);
    w.per_layer.post_norm = bind.vector(prefix + "post_per_layer_input_norm.weight", dim);
  }
  w.output_scale = bind.scalar(prefix + "layer_scalar");
  return w;
}

PerLayerInputWeights bind_per_layer_inputs(WeightBinder& bind, const std::string& prefix, const ModelConfig& config) {
  const int64_t width = static_cast<int64_t>(config.layers.size()) * config.per_layer_dim;
  PerLayerInputWeights w;
  w.table = bind.table(prefix + "embed_tokens_per_layer.weight", config.vocab, width);
  w.table.scale = round_to_bf16(std::sqrt(static_cast<float>(config.per_layer_dim)));
  w.projection = bind.matrix(prefix + "per_layer_model_projection.weight", width, config.dim);
  w.norm = bind.vector(prefix + "per_layer_projection_norm.weight", config.per_layer_dim);
  return w;
}

// Released files keep these under model.vision_embedder; files saved again by newer versions of the reference under
// model.embed_vision, and MLX exports drop "model.".
VisionPatchWeights bind_vision(WeightBinder& bind, const ModelConfig& config) {
  const VisionPatchConfig& vision = *config.vision;
  const auto name = [&](const std::string& part) {
    return bind.first_of({"model.vision_embedder." + part, "model.embed_vision." + part, "vision_embedder." + part,
                          "embed_vision." + part});
  };
  VisionPatchWeights w;
  w.patch_norm = bind.vector(name("patch_ln1.weight"), vision.patch_values());
  w.patch_norm_bias = bind.vector(name("patch_ln1.bias"), vision.patch_values());
  w.dense = bind.matrix(name("patch_dense.weight"), vision.embed_dim, vision.patch_values());
  w.dense_bias = bind.vector(name("patch_dense.bias"), vision.embed_dim);
  w.embed_norm = bind.vector(name("patch_ln2.weight"), vision.embed_dim);
  w.embed_norm_bias = bind.vector(name("patch_ln2.bias"), vision.embed_dim);
  w.positions = bind.as_matrix(name("pos_embedding"), {vision.positions, 2, vision.embed_dim}, 2LL * vision.positions,
                               vision.embed_dim);
  w.position_norm = bind.vector(name("pos_norm.weight"), vision.embed_dim);
  w.position_norm_bias = bind.vector(name("pos_norm.bias"), vision.embed_dim);
  w.projection = bind.matrix(bind.first_of({"model.embed_vision.embedding_projection.weight",
                                            "model.embed_vision.multimodal_embedder.embedding_projection.weight",
                                            "embed_vision.embedding_projection.weight"}),
                             config.dim, vision.embed_dim);
  return w;
}

}  // namespace

Result<ModelWeights> bind_weights(const Checkpoint& checkpoint, const ModelConfig& config, std::string_view source,
                                  Ops& ops) {
  WeightBinder bind(checkpoint, source, ops);
  const std::string prefix = bind.text_prefix();
  ModelWeights w;
  w.embedding = bind.matrix(prefix + "embed_tokens.weight", config.vocab, config.dim);
  w.embedding_scale = round_to_bf16(std::sqrt(static_cast<float>(config.dim)));
  w.final_norm = bind.vector(prefix + "norm.weight", config.dim);
  if (config.per_layer_dim > 0) w.per_layer_inputs = bind_per_layer_inputs(bind, prefix, config);
  for (size_t l = 0; l < config.layers.size(); ++l) {
    w.layers.push_back(bind_layer(bind, fmt::format("{}layers.{}.", prefix, l), config, static_cast<int32_t>(l)));
  }
  if (config.vision) w.vision = bind_vision(bind, config);
  if (config.vision_tower) w.vision_tower = bind_vision_tower(bind, *config.vision_tower, config.dim);
  if (config.audio) {
    w.audio_projection = bind.matrix(
        bind.first_of({"model.embed_audio.embedding_projection.weight", "embed_audio.embedding_projection.weight"}),
        config.dim, config.audio->samples_per_token);
  }
  if (config.audio_tower) w.audio_tower = bind_audio_tower(bind, *config.audio_tower, config.dim);
  RETURN_IF_ERROR(bind.finish());
  w.bytes_per_token = decode_bytes(w, config);
  return w;
}

}  // namespace lapidary
