#include "model/text_section.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "base/log.h"

namespace lapidary {
namespace {

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

struct HeadSizes {
  std::optional<int32_t> head_dim, kv_heads;
};

// "05", "5" -> 5; -1 for what is no index of a layer.
int32_t layer_index(std::string_view key, int32_t layers) {
  int32_t index = -1;
  const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), index);
  const bool whole = failed == std::errc() && end == key.data() + key.size();
  return whole && index >= 0 && index < layers ? index : -1;
}

// per_layer_config, as newer files write it: {"05": {"head_dim": 512, "num_key_value_heads": 1}}. The reference pads
// the keys with zeros to the width of the longest.
Result<std::vector<HeadSizes>> read_overrides(const JsonObject& text, int32_t layers) {
  ASSIGN_OR_RETURN(const JsonObject all, text.object("per_layer_config"));
  std::vector<HeadSizes> sizes(static_cast<size_t>(layers));
  std::vector<bool> seen(static_cast<size_t>(layers));
  for (const auto& [key, value] : text.find("per_layer_config")->items()) {
    const int32_t index = layer_index(key, layers);
    if (index < 0) {
      return contradiction(all, fmt::format("expected indices of {} layers, found {}", layers, dump_json(Json(key))));
    }
    if (seen[static_cast<size_t>(index)]) return contradiction(all, fmt::format("layer {} stands in it twice", index));
    seen[static_cast<size_t>(index)] = true;
    ASSIGN_OR_RETURN(const JsonObject own, all.object(key));
    for (const auto& item : value.items()) {
      if (item.key() != "head_dim" && item.key() != "num_key_value_heads") {
        return unsupported(
            own, fmt::format("expected head_dim and num_key_value_heads, found {}", dump_json(Json(item.key()))));
      }
    }
    HeadSizes& layer = sizes[static_cast<size_t>(index)];
    if (own.has("head_dim")) {
      ASSIGN_OR_RETURN(layer.head_dim, dimension(own, "head_dim"));
    }
    if (own.has("num_key_value_heads")) {
      ASSIGN_OR_RETURN(layer.kv_heads, dimension(own, "num_key_value_heads"));
    }
  }
  return sizes;
}

// What full layers have of their own: global_head_dim and num_global_key_value_heads, or the overrides where those are
// written. The number of heads is only consulted where K and V share their projection.
Result<std::vector<HeadSizes>> read_head_sizes(const JsonObject& text, const std::vector<AttentionKind>& kinds,
                                               bool keys_are_values) {
  if (text.has("per_layer_config")) return read_overrides(text, static_cast<int32_t>(kinds.size()));
  HeadSizes global;
  ASSIGN_OR_RETURN(global.head_dim, dimension(text, "global_head_dim"));
  if (keys_are_values && text.has("num_global_key_value_heads")) {
    ASSIGN_OR_RETURN(global.kv_heads, dimension(text, "num_global_key_value_heads"));
  }
  std::vector<HeadSizes> sizes;
  sizes.reserve(kinds.size());
  for (const AttentionKind kind : kinds) sizes.push_back(kind == AttentionKind::kGlobal ? global : HeadSizes{});
  return sizes;
}

// What no release sets otherwise, and what the forward pass has no meaning for.
Result<void> check_fixed_choices(const JsonObject& text) {
  ASSIGN_OR_RETURN(const std::string activation, text.string_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh")
    return unsupported(text, fmt::format("\"hidden_activation\": expected gelu_pytorch_tanh, found {}", activation));
  ASSIGN_OR_RETURN(const bool bias, text.boolean_or("attention_bias", false));
  if (bias) return unsupported(text, "\"attention_bias\": expected false, found true");
  ASSIGN_OR_RETURN(const bool tied, text.boolean_or("tie_word_embeddings", true));
  if (!tied) return unsupported(text, "\"tie_word_embeddings\": expected true, found false");
  return {};
}

Result<std::vector<LayerSpec>> read_layers(const JsonObject& text, int32_t layers, int32_t heads) {
  ASSIGN_OR_RETURN(const int32_t ffn_hidden, dimension(text, "intermediate_size"));
  ASSIGN_OR_RETURN(const std::vector<AttentionKind> kinds, read_layer_types(text, layers));
  ASSIGN_OR_RETURN(const RopeSpec sliding_rope, read_rope(text, "sliding_attention"));
  ASSIGN_OR_RETURN(const RopeSpec global_rope, read_rope(text, "full_attention"));
  ASSIGN_OR_RETURN(const bool keys_are_values, text.boolean_or("attention_k_eq_v", false));
  ASSIGN_OR_RETURN(const int32_t head_dim, dimension(text, "head_dim"));
  ASSIGN_OR_RETURN(const int32_t kv_heads, dimension(text, "num_key_value_heads"));
  ASSIGN_OR_RETURN(const std::vector<HeadSizes> sizes, read_head_sizes(text, kinds, keys_are_values));
  std::vector<LayerSpec> specs;
  for (int32_t l = 0; l < layers; ++l) {
    const AttentionKind kind = kinds[static_cast<size_t>(l)];
    LayerSpec layer;
    layer.attention = kind;
    layer.kv_source = l;
    layer.values_from_keys = keys_are_values && kind == AttentionKind::kGlobal;
    layer.head_dim = sizes[static_cast<size_t>(l)].head_dim.value_or(head_dim);
    layer.kv_heads = sizes[static_cast<size_t>(l)].kv_heads.value_or(kv_heads);
    layer.rope = kind == AttentionKind::kGlobal ? global_rope : sliding_rope;
    layer.ffn_hidden = ffn_hidden;
    if (heads % layer.kv_heads != 0) {
      return contradiction(text, fmt::format("layer {}: {} query heads cannot share {} key/value heads evenly", l,
                                             heads, layer.kv_heads));
    }
    if (layer.head_dim % 2 != 0)
      return contradiction(text, fmt::format("layer {}: head_dim {} is odd", l, layer.head_dim));
    specs.push_back(layer);
  }
  return specs;
}

}  // namespace

Error contradiction(const JsonObject& from, std::string_view what) {
  return {ErrorCode::kCorruptFile, fmt::format("{}: {}", from.source(), what)};
}

Error unsupported(const JsonObject& from, std::string_view what) {
  return {ErrorCode::kUnsupported, fmt::format("{}: {}", from.source(), what)};
}

Result<int32_t> dimension(const JsonObject& from, std::string_view key, int64_t max) {
  ASSIGN_OR_RETURN(const int64_t value, from.integer(key, 1, max));
  return static_cast<int32_t>(value);
}

Result<TextSection> read_text_section(const JsonObject& text, int64_t layers_max) {
  TextSection section;
  ASSIGN_OR_RETURN(section.dim, dimension(text, "hidden_size"));
  ASSIGN_OR_RETURN(section.heads, dimension(text, "num_attention_heads"));
  ASSIGN_OR_RETURN(section.vocab, dimension(text, "vocab_size", kVocabMax));
  ASSIGN_OR_RETURN(const int32_t layers, dimension(text, "num_hidden_layers", layers_max));
  ASSIGN_OR_RETURN(const double eps, text.number_or("rms_norm_eps", 1e-6));
  if (!(eps > 0 && eps < 1))
    return contradiction(text, fmt::format("\"rms_norm_eps\": expected a small positive number, found {}", eps));
  section.rms_eps = static_cast<float>(eps);
  RETURN_IF_ERROR(check_fixed_choices(text));
  ASSIGN_OR_RETURN(section.layers, read_layers(text, layers, section.heads));
  return section;
}

}  // namespace lapidary
