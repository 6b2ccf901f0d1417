#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace lapidary {
namespace {

// Sizes far beyond any model, small enough that products of three of them fit in 64 bits.
constexpr int64_t kDimMax = 1 << 20;
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kExpertsMax = 1 << 10;
constexpr int64_t kVocabMax = 1 << 24;
constexpr int64_t kPositionsMax = 1 << 24;

Error contradiction(const JsonObject& from, std::string what) {
  return {ErrorCode::kCorruptFile, fmt::format("{}: {}", from.source(), what)};
}

Error unsupported(const JsonObject& from, std::string what) {
  return {ErrorCode::kUnsupported, fmt::format("{}: {}", from.source(), what)};
}

Result<int32_t> dimension(const JsonObject& from, std::string_view key, int64_t max = kDimMax) {
  ASSIGN_OR_RETURN(const int64_t value, from.integer(key, 1, max));
  return static_cast<int32_t>(value);
}

Result<int32_t> token_id(const JsonObject& from, std::string_view key, int32_t vocab, int64_t fallback) {
  ASSIGN_OR_RETURN(const int64_t value, from.integer_or(key, 0, vocab - 1, fallback));
  return static_cast<int32_t>(value);
}

// "full_attention" or "sliding_attention" for every layer.
Result<std::vector<AttentionKind>> read_layer_types(const JsonObject& text, int32_t layers) {
  const Json* types = text.find("layer_types");
  if (types == nullptr || !types->is_array() || types->size() != static_cast<size_t>(layers)) {
    return contradiction(text, fmt::format("\"layer_types\": expected one entry for each of {} layers", layers));
  }
  std::vector<AttentionKind> kinds;
  for (const Json& type : *types) {
    if (type == "full_attention") {
      kinds.push_back(AttentionKind::kGlobal);
    } else if (type == "sliding_attention") {
      kinds.push_back(AttentionKind::kSliding);
    } else {
      return contradiction(text, fmt::format("\"layer_types\": expected full_attention or sliding_attention, found {}",
                                             dump_json(type)));
    }
  }
  if (kinds.back() != AttentionKind::kGlobal) {
    // The reference does the same, so that weights saved by it mean the same here.
    spdlog::warn("{}: the last layer must be full_attention; taken as such", text.source());
    kinds.back() = AttentionKind::kGlobal;
  }
  return kinds;
}

Result<RopeSpec> read_rope(const JsonObject& text, std::string_view kind) {
  ASSIGN_OR_RETURN(const JsonObject all, text.object("rope_parameters"));
  ASSIGN_OR_RETURN(const JsonObject rope, all.object(kind));
  ASSIGN_OR_RETURN(const std::string type, rope.string_or("rope_type", "default"));
  RopeSpec spec;
  ASSIGN_OR_RETURN(const double theta, rope.number("rope_theta"));
  if (!(theta > 1.0 && theta < 1e12))
    return contradiction(rope, fmt::format("\"rope_theta\": expected a number above 1, found {}", theta));
  spec.theta = static_cast<float>(theta);
  if (type == "proportional") {
    ASSIGN_OR_RETURN(const double fraction, rope.number_or("partial_rotary_factor", 1.0));
    if (!(fraction > 0.0 && fraction <= 1.0)) {
      return contradiction(rope,
                           fmt::format("\"partial_rotary_factor\": expected a number in (0, 1], found {}", fraction));
    }
    spec.rotary_fraction = static_cast<float>(fraction);
  } else if (type != "default") {
    return unsupported(rope, fmt::format("rope_type: expected default or proportional, found {}", type));
  }
  return spec;
}

// Head sizes of one layer. Global layers differ through global_head_dim / num_global_key_value_heads, or, as newer
// files say it, through per_layer_config: {"5": {"head_dim": 512, "num_key_value_heads": 1}}.
Result<LayerSpec> read_heads(const JsonObject& text, int32_t index, AttentionKind kind, bool keys_are_values) {
  LayerSpec layer;
  layer.attention = kind;
  layer.kv_source = index;
  layer.values_from_keys = keys_are_values && kind == AttentionKind::kGlobal;
  ASSIGN_OR_RETURN(layer.head_dim, dimension(text, "head_dim"));
  ASSIGN_OR_RETURN(layer.kv_heads, dimension(text, "num_key_value_heads"));
  if (text.has("per_layer_config")) {
    ASSIGN_OR_RETURN(const JsonObject all, text.object("per_layer_config"));
    const std::string key = std::to_string(index);
    if (all.has(key)) {
      ASSIGN_OR_RETURN(const JsonObject own, all.object(key));
      ASSIGN_OR_RETURN(const int64_t head_dim, own.integer_or("head_dim", 1, kDimMax, layer.head_dim));
      ASSIGN_OR_RETURN(const int64_t kv_heads, own.integer_or("num_key_value_heads", 1, kDimMax, layer.kv_heads));
      layer.head_dim = static_cast<int32_t>(head_dim);
      layer.kv_heads = static_cast<int32_t>(kv_heads);
    }
  } else if (kind == AttentionKind::kGlobal) {
    ASSIGN_OR_RETURN(layer.head_dim, dimension(text, "global_head_dim"));
    if (keys_are_values) {  // only consulted where K and V share their projection
      ASSIGN_OR_RETURN(const int64_t kv_heads,
                       text.integer_or("num_global_key_value_heads", 1, kDimMax, layer.kv_heads));
      layer.kv_heads = static_cast<int32_t>(kv_heads);
    }
  }
  return layer;
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
  ASSIGN_OR_RETURN(config.dim, dimension(text, "hidden_size"));
  ASSIGN_OR_RETURN(config.heads, dimension(text, "num_attention_heads"));
  ASSIGN_OR_RETURN(config.vocab, dimension(text, "vocab_size", kVocabMax));
  ASSIGN_OR_RETURN(config.sliding_window, dimension(text, "sliding_window", kPositionsMax));
  ASSIGN_OR_RETURN(config.positions_max, dimension(text, "max_position_embeddings", kPositionsMax));
  ASSIGN_OR_RETURN(const int32_t layers, dimension(text, "num_hidden_layers", kLayersMax));
  ASSIGN_OR_RETURN(const int32_t ffn_hidden, dimension(text, "intermediate_size"));
  ASSIGN_OR_RETURN(const double eps, text.number_or("rms_norm_eps", 1e-6));
  if (!(eps > 0 && eps < 1))
    return contradiction(text, fmt::format("\"rms_norm_eps\": expected a small positive number, found {}", eps));
  config.rms_eps = static_cast<float>(eps);
  ASSIGN_OR_RETURN(const double softcap, text.number_or("final_logit_softcapping", 0.0));
  if (!(softcap >= 0 && softcap < 1e6))
    return contradiction(text, fmt::format("\"final_logit_softcapping\": found {}", softcap));
  config.final_softcap = static_cast<float>(softcap);

  ASSIGN_OR_RETURN(const std::string activation, text.string_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh")
    return unsupported(text, fmt::format("\"hidden_activation\": expected gelu_pytorch_tanh, found {}", activation));
  ASSIGN_OR_RETURN(const bool bias, text.boolean_or("attention_bias", false));
  if (bias) return unsupported(text, "\"attention_bias\": expected false, found true");
  ASSIGN_OR_RETURN(const bool tied, text.boolean_or("tie_word_embeddings", true));
  if (!tied) return unsupported(text, "\"tie_word_embeddings\": expected true, found false");
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

  ASSIGN_OR_RETURN(const std::vector<AttentionKind> kinds, read_layer_types(text, layers));
  ASSIGN_OR_RETURN(const RopeSpec sliding_rope, read_rope(text, "sliding_attention"));
  ASSIGN_OR_RETURN(const RopeSpec global_rope, read_rope(text, "full_attention"));
  ASSIGN_OR_RETURN(const bool keys_are_values, text.boolean_or("attention_k_eq_v", false));
  for (int32_t l = 0; l < layers; ++l) {
    const AttentionKind kind = kinds[static_cast<size_t>(l)];
    ASSIGN_OR_RETURN(LayerSpec layer, read_heads(text, l, kind, keys_are_values));
    layer.rope = kind == AttentionKind::kGlobal ? global_rope : sliding_rope;
    layer.ffn_hidden = ffn_hidden;
    if (config.heads % layer.kv_heads != 0) {
      return contradiction(text, fmt::format("layer {}: {} query heads cannot share {} key/value heads evenly", l,
                                             config.heads, layer.kv_heads));
    }
    if (layer.head_dim % 2 != 0)
      return contradiction(text, fmt::format("layer {}: head_dim {} is odd", l, layer.head_dim));
    config.layers.push_back(layer);
  }
  RETURN_IF_ERROR(read_sharing(text, config));
  return read_experts(text, config);
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
  ASSIGN_OR_RETURN(config.image_token_id, token_id(root, "image_token_id", config.vocab, 258'880));
  ASSIGN_OR_RETURN(config.video_token_id, token_id(root, "video_token_id", config.vocab, 258'884));
  config.vision = patches;
  return {};
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
  int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.head_dim);
  return most;
}

int32_t ModelConfig::kv_width_max() const {
  int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.kv_heads * layer.head_dim);
  return most;
}

int32_t ModelConfig::ffn_hidden_max() const {
  int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.ffn_hidden);
  return most;
}

int32_t ModelConfig::experts_max() const {
  int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.moe ? layer.moe->experts : 0);
  return most;
}

int32_t ModelConfig::active_experts_max() const {
  int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.moe ? layer.moe->active : 0);
  return most;
}

int32_t ModelConfig::expert_hidden_max() const {
  int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.moe ? layer.moe->hidden : 0);
  return most;
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
  } else if (!text_alone && (root.has("vision_config") || root.has("audio_config"))) {
    config.has_towers = true;
    spdlog::warn(
        "{}: the vision and audio encoders of {} are not supported yet: text only, pictures and sound will be "
        "refused",
        root.source(), config.variant);
  }
  RETURN_IF_ERROR(read_eos(root.has("eos_token_id") ? root : text, config));
  return config;
}

Result<std::vector<LayerSpec>> read_attention_specs(const JsonObject& text, int32_t layers) {
  ASSIGN_OR_RETURN(const std::vector<AttentionKind> kinds, read_layer_types(text, layers));
  ASSIGN_OR_RETURN(const RopeSpec sliding_rope, read_rope(text, "sliding_attention"));
  ASSIGN_OR_RETURN(const RopeSpec global_rope, read_rope(text, "full_attention"));
  ASSIGN_OR_RETURN(const bool keys_are_values, text.boolean_or("attention_k_eq_v", false));
  std::vector<LayerSpec> specs;
  for (int32_t l = 0; l < layers; ++l) {
    const AttentionKind kind = kinds[static_cast<size_t>(l)];
    ASSIGN_OR_RETURN(LayerSpec layer, read_heads(text, l, kind, keys_are_values));
    layer.rope = kind == AttentionKind::kGlobal ? global_rope : sliding_rope;
    if (layer.head_dim % 2 != 0)
      return contradiction(text, fmt::format("layer {}: head_dim {} is odd", l, layer.head_dim));
    specs.push_back(layer);
  }
  return specs;
}

}  // namespace lapidary
