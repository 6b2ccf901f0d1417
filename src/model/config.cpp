#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "model/text_section.h"

namespace lapidary {
namespace {

constexpr int64_t kLayersMax = 1024;
constexpr int64_t kExpertsMax = 1 << 10;
constexpr int64_t kPositionsMax = 1 << 24;

Result<int32_t> token_id(const JsonObject& from, std::string_view key, int32_t vocab, int64_t fallback) {
  ASSIGN_OR_RETURN(const int64_t value, from.integer_or(key, 0, vocab - 1, fallback));
  return static_cast<int32_t>(value);
}

// The last num_kv_shared_layers layers have no K and V of their own: each reads those of the last layer before them
// that is of its kind. Their feed-forward network is twice as wide where use_double_wide_mlp says so.
Result<void> read_sharing(const JsonObject& text, ModelConfig& config) {
  const int32_t layers = static_cast<int32_t>(config.layers.size());
  ASSIGN_OR_RETURN(const int64_t shared, text.integer_or("num_kv_shared_layers", 0, layers - 1, 0));
  ASSIGN_OR_RETURN(const bool double_wide, text.boolean_or("use_double_wide_mlp", false));
  const int32_t own = layers - static_cast<int32_t>(shared);
  for (int32_t l = own; l < layers; ++l) {
    LayerSpec& layer = config.layers[static_cast<size_t>(l)];
    int32_t source = own - 1;
    while (source >= 0 && config.layers[static_cast<size_t>(source)].attention != layer.attention) --source;
    if (source < 0) {
      return contradiction(
          text, fmt::format("\"num_kv_shared_layers\" is {}: layer {} borrows K and V, expected a layer of its "
                            "layer_types kind among the first {}, found none",
                            shared, l, own));
    }
    const LayerSpec& lender = config.layers[static_cast<size_t>(source)];
    if (layer.head_dim != lender.head_dim || layer.kv_heads != lender.kv_heads) {
      return contradiction(text,
                           fmt::format("layer {} borrows K and V of layer {}: expected its {} heads of {}, "
                                       "found {} of {}",
                                       l, source, lender.kv_heads, lender.head_dim, layer.kv_heads, layer.head_dim));
    }
    layer.kv_source = source;
    if (double_wide) layer.ffn_hidden *= 2;
  }
  return {};
}

Result<void> read_experts(const JsonObject& text, ModelConfig& config) {
  ASSIGN_OR_RETURN(const bool experts, text.boolean_or("enable_moe_block", false));
  if (!experts) return {};
  MoeSpec moe;
  ASSIGN_OR_RETURN(moe.experts, dimension(text, "num_experts", kExpertsMax));
  ASSIGN_OR_RETURN(moe.active, dimension(text, "top_k_experts", moe.experts));
  ASSIGN_OR_RETURN(moe.hidden, dimension(text, "moe_intermediate_size"));
  for (LayerSpec& layer : config.layers) layer.moe = moe;
  return {};
}

// Which release has this structure; see ModelConfig::variant.
std::string variant_of(const ModelConfig& config, bool unified) {
  if (unified) return "12b-unified";
  if (config.experts_max() > 0) return "26b-a4b";
  if (config.per_layer_dim == 0) return "31b";
  return config.layers.back().ffn_hidden > config.layers.front().ffn_hidden ? "e2b" : "e4b";
}

Result<void> read_text(const JsonObject& text, ModelConfig& config) {
  ASSIGN_OR_RETURN(TextSection section, read_text_section(text, kLayersMax));
  config.dim = section.dim;
  config.heads = section.heads;
  config.vocab = section.vocab;
  config.rms_eps = section.rms_eps;
  config.layers = std::move(section.layers);
  const int32_t layers = static_cast<int32_t>(config.layers.size());
  ASSIGN_OR_RETURN(config.sliding_window, dimension(text, "sliding_window", kPositionsMax));
  ASSIGN_OR_RETURN(config.positions_max, dimension(text, "max_position_embeddings", kPositionsMax));
  ASSIGN_OR_RETURN(const double softcap, text.number_or("final_logit_softcapping", 0.0));
  if (!(softcap >= 0 && softcap < 1e6))
    return contradiction(text, fmt::format("\"final_logit_softcapping\": found {}", softcap));
  config.final_softcap = static_cast<float>(softcap);
  ASSIGN_OR_RETURN(const int64_t per_layer, text.integer_or("hidden_size_per_layer_input", 0, kDimMax / layers, 0));
  config.per_layer_dim = static_cast<int32_t>(per_layer);
  if (per_layer > 0) {
    ASSIGN_OR_RETURN(const int64_t rows, text.integer_or("vocab_size_per_layer_input", 1, kVocabMax, config.vocab));
    if (rows != config.vocab) {
      return contradiction(
          text, fmt::format("\"vocab_size_per_layer_input\": expected vocab_size, {}, found {}", config.vocab, rows));
    }
  }
  if (text.has("use_bidirectional_attention")) {
    ASSIGN_OR_RETURN(const std::string bidirectional, text.string("use_bidirectional_attention"));
    if (bidirectional != "vision")
      return unsupported(text, fmt::format("\"use_bidirectional_attention\": expected \"vision\" or null, found \"{}\"",
                                           bidirectional));
    config.image_tokens_see_each_other = true;
  }
  ASSIGN_OR_RETURN(config.pad_id, token_id(text, "pad_token_id", config.vocab, 0));
  ASSIGN_OR_RETURN(config.bos_id, token_id(text, "bos_token_id", config.vocab, 2));
  RETURN_IF_ERROR(read_sharing(text, config));
  return read_experts(text, config);
}

Result<void> read_picture_ids(const JsonObject& root, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.image_token_id, token_id(root, "image_token_id", config.vocab, 258'880));
  ASSIGN_OR_RETURN(config.video_token_id, token_id(root, "video_token_id", config.vocab, 258'884));
  return {};
}

Result<void> read_vision(const JsonObject& root, ModelConfig& config) {
  if (!root.has("vision_config")) return {};
  ASSIGN_OR_RETURN(const JsonObject vision, root.object("vision_config"));
  VisionPatchConfig patches;
  ASSIGN_OR_RETURN(const int64_t patch, vision.integer_or("patch_size", 1, 256, 16));
  ASSIGN_OR_RETURN(const int64_t pooling, vision.integer_or("pooling_kernel_size", 1, 16, 3));
  patches.patch_pixels = static_cast<int32_t>(patch * pooling);
  ASSIGN_OR_RETURN(const int64_t declared, vision.integer_or("model_patch_size", 1, 4096, patches.patch_pixels));
  if (declared != patches.patch_pixels) {
    return contradiction(vision, fmt::format("model_patch_size is {}, patch_size * pooling_kernel_size is {}", declared,
                                             patches.patch_pixels));
  }
  ASSIGN_OR_RETURN(patches.embed_dim, dimension(vision, "mm_embed_dim"));
  ASSIGN_OR_RETURN(patches.positions, dimension(vision, "mm_posemb_size", kDimMax));
  ASSIGN_OR_RETURN(const double eps, vision.number_or("rms_norm_eps", 1e-6));
  patches.rms_eps = static_cast<float>(eps);
  config.vision = patches;
  return read_picture_ids(root, config);
}

Result<void> read_vision_tower(const JsonObject& root, ModelConfig& config) {
  if (!root.has("vision_config")) return {};
  ASSIGN_OR_RETURN(const JsonObject vision, root.object("vision_config"));
  ASSIGN_OR_RETURN(config.vision_tower, read_vision_tower_config(vision));
  return read_picture_ids(root, config);
}

Result<void> read_audio(const JsonObject& root, ModelConfig& config) {
  if (!root.has("audio_config")) return {};
  ASSIGN_OR_RETURN(const JsonObject audio, root.object("audio_config"));
  AudioFrameConfig frames;
  ASSIGN_OR_RETURN(const int64_t width, audio.integer_or("audio_embed_dim", 1, kDimMax, 640));
  ASSIGN_OR_RETURN(const int64_t samples, audio.integer_or("audio_samples_per_token", 1, kDimMax, width));
  if (samples != width)
    return contradiction(audio, fmt::format("audio_samples_per_token is {}, audio_embed_dim {}", samples, width));
  frames.samples_per_token = static_cast<int32_t>(samples);
  ASSIGN_OR_RETURN(const double eps, audio.number_or("rms_norm_eps", 1e-6));
  frames.rms_eps = static_cast<float>(eps);
  ASSIGN_OR_RETURN(config.audio_token_id, token_id(root, "audio_token_id", config.vocab, 258'881));
  config.audio = frames;
  return {};
}

Result<void> read_audio_tower(const JsonObject& root, ModelConfig& config) {
  if (!root.has("audio_config")) return {};
  ASSIGN_OR_RETURN(const JsonObject audio, root.object("audio_config"));
  ASSIGN_OR_RETURN(config.audio_tower, read_audio_tower_config(audio));
  ASSIGN_OR_RETURN(config.audio_token_id, token_id(root, "audio_token_id", config.vocab, 258'881));
  return {};
}

Result<void> read_eos(const JsonObject& root, ModelConfig& config) {
  const Json* eos = root.find("eos_token_id");
  if (eos == nullptr) return {};
  const Json list = eos->is_array() ? *eos : Json::array({*eos});
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= config.vocab) {
      return contradiction(
          root, fmt::format("\"eos_token_id\": expected ids in [0, {}), found {}", config.vocab, dump_json(id)));
    }
    config.eos_ids.push_back(id.get<int32_t>());
  }
  return {};
}

}  // namespace

int32_t ModelConfig::head_dim_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.head_dim; });
}

int32_t ModelConfig::kv_width_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.kv_heads * l.head_dim; });
}

int32_t ModelConfig::ffn_hidden_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.ffn_hidden; });
}

int32_t ModelConfig::experts_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.moe ? l.moe->experts : 0; });
}

int32_t ModelConfig::active_experts_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.moe ? l.moe->active : 0; });
}

int32_t ModelConfig::expert_hidden_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.moe ? l.moe->hidden : 0; });
}

int32_t ModelConfig::borrowing_tail() const {
  int32_t first = static_cast<int32_t>(layers.size());
  while (first > 0 && layers[static_cast<size_t>(first) - 1].kv_source != first - 1) --first;
  return first;
}

Result<ModelConfig> read_model_config(const Json& json, std::string_view source) {
  ASSIGN_OR_RETURN(const JsonObject root, JsonObject::of(json, std::string(source)));
  ASSIGN_OR_RETURN(const std::string type, root.string("model_type"));
  const bool unified = type == "gemma4_unified" || type == "gemma4_unified_text";
  const bool text_alone = type == "gemma4_text" || type == "gemma4_unified_text";
  if (!unified && !text_alone && type != "gemma4") {
    return unsupported(root, fmt::format("\"model_type\": expected gemma4, gemma4_unified, gemma4_text or "
                                         "gemma4_unified_text, found {}",
                                         type));
  }
  ModelConfig config;
  ASSIGN_OR_RETURN(const JsonObject text, text_alone ? Result<JsonObject>(root) : root.object("text_config"));
  RETURN_IF_ERROR(read_text(text, config));
  config.variant = variant_of(config, unified);
  if (!text_alone && unified) {
    RETURN_IF_ERROR(read_vision(root, config));
    RETURN_IF_ERROR(read_audio(root, config));
  } else if (!text_alone) {
    RETURN_IF_ERROR(read_vision_tower(root, config));
    RETURN_IF_ERROR(read_audio_tower(root, config));
  }
  RETURN_IF_ERROR(read_eos(root.has("eos_token_id") ? root : text, config));
  return config;
}

}  // namespace lapidary
