#include "model/vision_config.h"

#include <fmt/format.h>

#include "model/text_section.h"

namespace lapidary {
namespace {

// Far beyond any encoder, small enough that products of three of them fit in 64 bits.
constexpr int64_t kWidthMax = 1 << 17;
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kPositionsMax = 1 << 17;
constexpr int64_t kPatchPixelsMax = 256;
constexpr int64_t kPoolingMax = 16;

Result<int32_t> count_or(const JsonObject& from, std::string_view key, int64_t max, int64_t fallback) {
  ASSIGN_OR_RETURN(const int64_t value, from.integer_or(key, 1, max, fallback));
  return static_cast<int32_t>(value);
}

// Released files call the rotation by two coordinates "default", newer ones "axial".
Result<float> read_theta(const JsonObject& vision) {
  VisionTowerConfig defaults;
  if (!vision.has("rope_parameters")) return defaults.rope_theta;
  ASSIGN_OR_RETURN(const JsonObject rope, vision.object("rope_parameters"));
  ASSIGN_OR_RETURN(const std::string type, rope.string_or("rope_type", "default"));
  if (type != "default" && type != "axial") {
    return unsupported(rope, fmt::format("\"rope_type\": expected default or axial, found {}", type));
  }
  ASSIGN_OR_RETURN(const double theta, rope.number_or("rope_theta", static_cast<double>(defaults.rope_theta)));
  if (!(theta > 1.0 && theta < 1e12)) {
    return contradiction(rope, fmt::format("\"rope_theta\": expected a number above 1, found {}", theta));
  }
  return static_cast<float>(theta);
}

}  // namespace

Result<VisionTowerConfig> read_vision_tower_config(const JsonObject& vision) {
  VisionTowerConfig config;
  ASSIGN_OR_RETURN(config.patch_pixels, count_or(vision, "patch_size", kPatchPixelsMax, 16));
  ASSIGN_OR_RETURN(config.pooling, count_or(vision, "pooling_kernel_size", kPoolingMax, 3));
  ASSIGN_OR_RETURN(config.dim, dimension(vision, "hidden_size", kWidthMax));
  ASSIGN_OR_RETURN(config.layers, dimension(vision, "num_hidden_layers", kLayersMax));
  ASSIGN_OR_RETURN(config.ffn_hidden, dimension(vision, "intermediate_size", kWidthMax));
  ASSIGN_OR_RETURN(config.heads, dimension(vision, "num_attention_heads", kWidthMax));
  ASSIGN_OR_RETURN(const int32_t kv_heads, count_or(vision, "num_key_value_heads", kWidthMax, config.heads));
  if (kv_heads != config.heads) {
    return unsupported(vision, fmt::format("\"num_key_value_heads\": expected num_attention_heads, {}, found {}",
                                           config.heads, kv_heads));
  }
  ASSIGN_OR_RETURN(config.head_dim, count_or(vision, "head_dim", kWidthMax, 64));
  if (config.head_dim % 4 != 0) {  // two halves, each of pairs
    return unsupported(vision, fmt::format("\"head_dim\": expected a multiple of 4, found {}", config.head_dim));
  }
  if (static_cast<int64_t>(config.heads) * config.head_dim > kWidthMax) {
    return unsupported(vision, fmt::format("{} heads of {}: expected at most {} values in a row", config.heads,
                                           config.head_dim, kWidthMax));
  }
  ASSIGN_OR_RETURN(config.positions, count_or(vision, "position_embedding_size", kPositionsMax, 10'240));
  ASSIGN_OR_RETURN(config.rope_theta, read_theta(vision));
  ASSIGN_OR_RETURN(const double eps, vision.number_or("rms_norm_eps", 1e-6));
  if (!(eps > 0 && eps < 1)) {
    return contradiction(vision, fmt::format("\"rms_norm_eps\": expected a small positive number, found {}", eps));
  }
  config.rms_eps = static_cast<float>(eps);
  ASSIGN_OR_RETURN(const std::string activation, vision.string_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh") {
    return unsupported(vision, fmt::format("\"hidden_activation\": expected gelu_pytorch_tanh, found {}", activation));
  }
  ASSIGN_OR_RETURN(const bool bias, vision.boolean_or("attention_bias", false));
  if (bias) return unsupported(vision, "\"attention_bias\": expected false, found true");
  ASSIGN_OR_RETURN(config.clipped, vision.boolean_or("use_clipped_linears", false));
  ASSIGN_OR_RETURN(config.standardised, vision.boolean_or("standardize", false));
  return config;
}

}  // namespace lapidary
