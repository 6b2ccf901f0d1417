#include "model/audio_weights.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

namespace lapidary {
namespace {

// q is multiplied by head_dim^-1/2 / ln 2 * softplus(per_dim_scale), the same for every head.
NormWeight query_scale(WeightBinder& bind, const std::string& name, int32_t head_dim) {
  std::vector<float> values = bind.values(name, {head_dim});
  for (float& value : values) {
    const double raw = static_cast<double>(value), softplus = raw > 30 ? raw : std::log1p(std::exp(raw));
    value = static_cast<float>(softplus / std::sqrt(static_cast<double>(head_dim)) / std::numbers::ln2);
  }
  return bind.keep(name, values, 1, head_dim);
}

// The file's kernel [dim, 1, taps], one row for each tap.
TensorView kernel_rows(WeightBinder& bind, const std::string& name, int32_t dim, int32_t taps) {
  const std::vector<float> values = bind.values(name, {dim, 1, taps});
  std::vector<float> rows(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t column = i / static_cast<size_t>(taps), tap = i % static_cast<size_t>(taps);
    rows[tap * static_cast<size_t>(dim) + column] = values[i];
  }
  return bind.keep(name, rows, taps, dim);
}

ConformerFfnWeights bind_ffn(WeightBinder& bind, const std::string& prefix, const AudioTowerConfig& config) {
  ConformerFfnWeights w;
  w.norm = bind.vector(prefix + "pre_layer_norm.weight", config.dim);
  w.up = bind.linear(prefix + "ffw_layer_1", config.ffn_hidden(), config.dim, config.clipped);
  w.down = bind.linear(prefix + "ffw_layer_2", config.dim, config.ffn_hidden(), config.clipped);
  w.post_norm = bind.vector(prefix + "post_layer_norm.weight", config.dim);
  return w;
}

ConformerLayerWeights bind_layer(WeightBinder& bind, const std::string& prefix, const AudioTowerConfig& config) {
  const int32_t dim = config.dim;
  const std::string attention = prefix + "self_attn.", convolution = prefix + "lconv1d.";
  ConformerLayerWeights w;
  w.ffn_before = bind_ffn(bind, prefix + "feed_forward1.", config);
  w.attn_norm = bind.vector(prefix + "norm_pre_attn.weight", dim);
  w.q = bind.linear(attention + "q_proj", dim, dim, config.clipped);
  w.k = bind.linear(attention + "k_proj", dim, dim, config.clipped);
  w.v = bind.linear(attention + "v_proj", dim, dim, config.clipped);
  w.o = bind.linear(attention + "post", dim, dim, config.clipped);
  w.distance = bind.matrix(attention + "relative_k_proj.weight", dim, dim);
  w.q_scale = query_scale(bind, attention + "per_dim_scale", config.head_dim());
  w.post_attn_norm = bind.vector(prefix + "norm_post_attn.weight", dim);
  w.conv_norm = bind.vector(convolution + "pre_layer_norm.weight", dim);
  w.conv_in = bind.linear(convolution + "linear_start", 2 * dim, dim, config.clipped);
  w.conv = kernel_rows(bind, convolution + "depthwise_conv1d.weight", dim, config.taps);
  w.post_conv_norm = bind.vector(convolution + "conv_norm.weight", dim);
  w.conv_out = bind.linear(convolution + "linear_end", dim, dim, config.clipped);
  w.ffn_after = bind_ffn(bind, prefix + "feed_forward2.", config);
  w.out_norm = bind.vector(prefix + "norm_out.weight", dim);
  return w;
}

}  // namespace

AudioTowerWeights bind_audio_tower(WeightBinder& bind, const AudioTowerConfig& config, int32_t decoder_dim) {
  const std::string last = bind.first_of({"model.audio_tower.output_proj.weight", "audio_tower.output_proj.weight"});
  const std::string prefix = last.substr(0, last.size() - std::string("output_proj.weight").size());
  const std::string first = prefix + "subsample_conv_projection.";
  AudioTowerWeights w;
  w.conv_first = bind.as_matrix(first + "layer0.conv.weight", {config.bands, 1, 3, 3}, config.bands, 9);
  w.conv_first_norm = bind.vector(first + "layer0.norm.weight", config.bands);
  w.conv_second = bind.as_matrix(first + "layer1.conv.weight", {config.channels, config.bands, 3, 3}, config.channels,
                                 9LL * config.bands);
  w.conv_second_norm = bind.vector(first + "layer1.norm.weight", config.channels);
  w.input = bind.matrix(first + "input_proj_linear.weight", config.dim, config.flat_width());
  for (int32_t l = 0; l < config.layers; ++l)
    w.layers.push_back(bind_layer(bind, fmt::format("{}layers.{}.", prefix, l), config));
  w.output = bind.matrix(prefix + "output_proj.weight", config.output_dim, config.dim);
  w.output_bias = bind.vector(prefix + "output_proj.bias", config.output_dim);
  w.projection = bind.matrix(
      bind.first_of({"model.embed_audio.embedding_projection.weight", "embed_audio.embedding_projection.weight"}),
      decoder_dim, config.output_dim);
  return w;
}

}  // namespace lapidary
