// The model's weights by meaning. Matrices borrow from the mapped file (or from what the backend made of them in
// prepare); norms are small and lie in the backend's memory as f32.
#pragma once

#include <optional>
#include <vector>

#include "files/checkpoint.h"
#include "model/config.h"
#include "ops/ops.h"
#include "quant/formats.h"

namespace lapidary {

// The linear layer of a tower: clamp(matrix * clamp(x, input), output). Ranges of infinities, where the model has none.
struct ClippedMatrix {
  QuantizedMatrix matrix;
  ClipRange input, output;
};

// A layer's mixture of experts, which answers next to the dense network.
struct MoeWeights {
  NormWeight router_scale;                                      // [dim], 1 / sqrt(dim) included
  QuantizedMatrix router;                                       // [experts, dim]
  NormWeight expert_scale;                                      // [experts]
  NormWeight post_dense_norm, experts_norm, post_experts_norm;  // [dim]
  std::vector<MlpWeights> experts;                              // gate, up [hidden, dim], down [dim, hidden]
};

// What a layer does with its own input of the token.
struct PerLayerWeights {
  QuantizedMatrix gate;  // [per_layer_dim, dim]
  QuantizedMatrix out;   // [dim, per_layer_dim]
  NormWeight post_norm;  // [dim]
};

struct LayerWeights {
  NormWeight attn_norm, post_attn_norm, ffn_norm, post_ffn_norm;  // [dim]
  NormWeight q_norm, k_norm;                                      // [head_dim]
  QuantizedMatrix q;                                              // [heads * head_dim, dim]
  QuantizedMatrix k, v;  // [kv_heads * head_dim, dim]; v empty when values come from keys, both when they are borrowed
  QuantizedMatrix o;     // [dim, heads * head_dim]
  MlpWeights mlp;        // gate, up [ffn_hidden, dim], down [dim, ffn_hidden]
  std::optional<MoeWeights> moe;
  PerLayerWeights per_layer;  // bound when config.per_layer_dim > 0
  float output_scale = 1.0f;  // layer_scalar: multiplies the whole stream at the layer's end
};

// Encoder-free vision: LayerNorm, dense, LayerNorm, + position(x) + position(y), LayerNorm, RMS norm, projection.
struct VisionPatchWeights {
  NormWeight patch_norm, patch_norm_bias;  // [patch_values]
  QuantizedMatrix dense;                   // [embed_dim, patch_values]
  NormWeight dense_bias;                   // [embed_dim]
  NormWeight embed_norm, embed_norm_bias;  // [embed_dim]
  QuantizedMatrix positions;  // [positions * 2, embed_dim]: row 2 p + axis, axis 0 = x (column), 1 = y (row)
  NormWeight position_norm, position_norm_bias;  // [embed_dim]
  QuantizedMatrix projection;                    // [dim, embed_dim]
};

struct ConformerFfnWeights {
  NormWeight norm, post_norm;  // [dim]
  ClippedMatrix up, down;      // [4 * dim, dim], [dim, 4 * dim]
};

// A feed-forward network, attention, a convolution along time, another feed-forward network.
struct ConformerLayerWeights {
  ConformerFfnWeights ffn_before, ffn_after;
  NormWeight attn_norm, post_attn_norm;  // [dim]
  ClippedMatrix q, k, v, o;              // [dim, dim]
  QuantizedMatrix distance;              // [dim, dim]: what makes a key of a distance
  NormWeight q_scale;                    // [head_dim], with head_dim^-1/2 / ln 2 and the softplus done
  NormWeight conv_norm, post_conv_norm;  // [dim]
  ClippedMatrix conv_in, conv_out;       // [2 * dim, dim]: values, then gates; [dim, dim]
  TensorView conv;                       // [taps, dim] f32
  NormWeight out_norm;                   // [dim]
};

struct AudioTowerWeights {
  QuantizedMatrix conv_first, conv_second;       // [bands, 9], [channels, 9 * bands]
  NormWeight conv_first_norm, conv_second_norm;  // of the channels
  QuantizedMatrix input;                         // [dim, bands / 4 * channels]
  std::vector<ConformerLayerWeights> layers;
  QuantizedMatrix output;      // [output_dim, dim]
  NormWeight output_bias;      // [output_dim]
  QuantizedMatrix projection;  // [decoder dim, output_dim]
};

struct VisionLayerWeights {
  NormWeight attn_norm, post_attn_norm, ffn_norm, post_ffn_norm;  // [dim]
  NormWeight q_norm, k_norm;                                      // [head_dim]; V is normalised without a weight
  ClippedMatrix q, k, v;                                          // [heads * head_dim, dim]
  ClippedMatrix o;                                                // [dim, heads * head_dim]
  ClippedMatrix gate, up;                                         // [ffn_hidden, dim]
  ClippedMatrix down;                                             // [dim, ffn_hidden]
};

struct VisionTowerWeights {
  QuantizedMatrix patch;      // [dim, patch_values]
  QuantizedMatrix positions;  // [2 * positions, dim]: rows of x (column), then rows of y
  std::vector<VisionLayerWeights> layers;
  NormWeight minus_shift, column_scale;  // [dim]: pooled = (pooled + minus_shift) * column_scale; when standardised
  QuantizedMatrix projection;            // [decoder dim, dim]
};

// Where the layers' own inputs come from, when config.per_layer_dim > 0; P = layers * per_layer_dim, layer after layer.
struct PerLayerInputWeights {
  QuantizedMatrix table;  // [vocab, P], times sqrt(per_layer_dim) rounded to bf16; not prepared: read where it lies
  QuantizedMatrix projection;  // [P, dim]
  NormWeight norm;             // [per_layer_dim], the same for every layer
};

struct ModelWeights {
  QuantizedMatrix embedding;  // [vocab, dim]; also the output head
  float embedding_scale = 1;  // sqrt(dim) rounded to bf16, as the reference rounds it
  PerLayerInputWeights per_layer_inputs;
  std::vector<LayerWeights> layers;
  NormWeight final_norm;             // [dim]
  VisionPatchWeights vision;         // bound when config.vision
  VisionTowerWeights vision_tower;   // bound when config.vision_tower
  QuantizedMatrix audio_projection;  // [dim, samples_per_token]; bound when config.audio
  AudioTowerWeights audio_tower;     // bound when config.audio_tower
  int64_t bytes_per_token = 0;       // weight bytes one decoded token reads: layers (the experts it chooses) and head
};

// Finds every tensor under the names the releases use (text under model.language_model., language_model.model. or
// model.) and checks every shape. Tensors of encoders, and K and V of layers that borrow theirs, are passed over.
// Errors: kCorruptFile listing every tensor that is missing or has another shape.
Result<ModelWeights> bind_weights(const Checkpoint& checkpoint, const ModelConfig& config, std::string_view source,
                                  Ops& ops);

}  // namespace lapidary
