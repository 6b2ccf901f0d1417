#include "model/audio_config.h"

#include <fmt/format.h>

#include <cmath>

#include "ops/ops.h"

namespace lapidary {
namespace {

constexpr int64_t kDimMax = 1 << 16;
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kBandsMax = 1024;
constexpr int64_t kTapsMax = 64;
// A score beyond the mask's, after the soft cap, has no weight in float32 if it is smaller by this much.
constexpr double kScoreGap = 200;

Error contradiction(const JsonObject& from, std::string what) {
  return {ErrorCode::kCorruptFile, fmt::format("{}: {}", from.source(), what)};
}

Error unsupported(const JsonObject& from, std::string what) {
  return {ErrorCode::kUnsupported, fmt::format("{}: {}", from.source(), what)};
}

Result<int32_t> dimension(const JsonObject& from, std::string_view key, int64_t max, int64_t fallback) {
  ASSIGN_OR_RETURN(const int64_t value, from.integer_or(key, 1, max, fallback));
  return static_cast<int32_t>(value);
}

Result<float> positive(const JsonObject& from, std::string_view key, double fallback) {
  ASSIGN_OR_RETURN(const double value, from.number_or(key, fallback));
  const float rounded = static_cast<float>(value);
  if (!(rounded > 0 && std::isfinite(rounded)))
    return contradiction(from, fmt::format("\"{}\": expected a number above 0, found {}", key, value));
  return rounded;
}

Result<void> read_channels(const JsonObject& audio, AudioTowerConfig& config) {
  config.bands = 128;
  config.channels = 32;
  const Json* list = audio.find("subsampling_conv_channels");
  if (list == nullptr || list->is_null()) return {};
  const auto fits = [](const Json& value) {
    return value.is_number_integer() && value.get<int64_t>() >= 1 && value.get<int64_t>() <= kBandsMax;
  };
  if (!list->is_array() || list->size() != 2 || !fits((*list)[0]) || !fits((*list)[1])) {
    return contradiction(audio, fmt::format("\"subsampling_conv_channels\": expected two numbers in [1, {}], found {}",
                                            kBandsMax, dump_json(*list)));
  }
  config.bands = (*list)[0].get<int32_t>();
  config.channels = (*list)[1].get<int32_t>();
  if (config.bands % 4 != 0) {
    return unsupported(
        audio, fmt::format("\"subsampling_conv_channels\": expected a first number divisible by 4, as the mel bands "
                           "are halved twice, found {}",
                           config.bands));
  }
  return {};
}

// The reference works on blocks of attention_chunk_size rows against their context; only where the context is the block
// and one row more are its distances those of the rows, which does not depend on where a block begins.
Result<void> read_reach(const JsonObject& audio, AudioTowerConfig& config) {
  ASSIGN_OR_RETURN(const int64_t chunk, audio.integer_or("attention_chunk_size", 1, kLocalKeysMax, 12));
  ASSIGN_OR_RETURN(const int64_t left, audio.integer_or("attention_context_left", 1, kDimMax, 13));
  ASSIGN_OR_RETURN(const int64_t right, audio.integer_or("attention_context_right", 0, kDimMax, 0));
  if (left != chunk + 1 || right != 0) {
    return unsupported(audio, fmt::format("attention_context_left, attention_context_right: expected {} (one more than "
                                          "attention_chunk_size) and 0, found {} and {}",
                                          chunk + 1, left, right));
  }
  config.keys = static_cast<int32_t>(chunk);
  ASSIGN_OR_RETURN(config.cap, positive(audio, "attention_logit_cap", 50.0));
  ASSIGN_OR_RETURN(const double masked, audio.number_or("attention_invalid_logits_value", -1e9));
  if (!(masked <= -2.0 * static_cast<double>(config.cap) - kScoreGap)) {
    return unsupported(audio, fmt::format("\"attention_invalid_logits_value\": expected a number far below "
                                          "-attention_logit_cap, found {}",
                                          masked));
  }
  return {};
}

}  // namespace

Result<AudioTowerConfig> read_audio_tower_config(const JsonObject& audio) {
  AudioTowerConfig config;
  RETURN_IF_ERROR(read_channels(audio, config));
  ASSIGN_OR_RETURN(config.dim, dimension(audio, "hidden_size", kDimMax, 1024));
  ASSIGN_OR_RETURN(config.layers, dimension(audio, "num_hidden_layers", kLayersMax, 12));
  ASSIGN_OR_RETURN(config.heads, dimension(audio, "num_attention_heads", kDimMax, 8));
  if (config.dim % config.heads != 0 || config.dim % 2 != 0) {
    return contradiction(audio, fmt::format("\"hidden_size\": expected an even multiple of num_attention_heads, {}, "
                                            "found {}",
                                            config.heads, config.dim));
  }
  ASSIGN_OR_RETURN(config.taps, dimension(audio, "conv_kernel_size", kTapsMax, 5));
  ASSIGN_OR_RETURN(config.output_dim, dimension(audio, "output_proj_dims", kDimMax, 1536));
  RETURN_IF_ERROR(read_reach(audio, config));
  ASSIGN_OR_RETURN(const std::string activation, audio.string_or("hidden_act", "silu"));
  if (activation != "silu")
    return unsupported(audio, fmt::format("\"hidden_act\": expected silu, found {}", activation));
  ASSIGN_OR_RETURN(config.residual, positive(audio, "residual_weight", 0.5));
  ASSIGN_OR_RETURN(config.clamp, positive(audio, "gradient_clipping", 1e10));
  ASSIGN_OR_RETURN(config.rms_eps, positive(audio, "rms_norm_eps", 1e-6));
  ASSIGN_OR_RETURN(config.clipped, audio.boolean_or("use_clipped_linears", true));
  return config;
}

}  // namespace lapidary
