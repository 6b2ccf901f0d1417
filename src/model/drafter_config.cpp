#include "model/drafter_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "model/text_section.h"

namespace lapidary {
namespace {

constexpr int64_t kLayersMax = 64;  // the released drafters have 4

const char* kind_name(AttentionKind kind) { return kind == AttentionKind::kGlobal ? "full" : "sliding"; }

// The last layer of a kind that owns K and V; -1 when there is none.
int32_t last_owner(const ModelConfig& target, AttentionKind kind) {
  for (int32_t l = static_cast<int32_t>(target.layers.size()) - 1; l >= 0; --l) {
    const LayerSpec& layer = target.layers[static_cast<size_t>(l)];
    if (layer.attention == kind && layer.kv_source == l) return l;
  }
  return -1;
}

// Points every layer at its source and lists what keeps the drafter from reading it.
std::vector<std::string> attach(DrafterConfig& config, const ModelConfig& target) {
  std::vector<std::string> differences;
  const auto compare = [&](std::string_view what, int32_t found, int32_t expected) {
    if (found != expected) differences.push_back(fmt::format("{} is {}, expected {}", what, found, expected));
  };
  compare("vocab_size", config.vocab, target.vocab);
  compare("backbone_hidden_size", config.backbone_dim, target.dim);
  for (size_t l = 0; l < config.layers.size(); ++l) {
    LayerSpec& layer = config.layers[l];
    const std::string name = fmt::format("layer {} ({} attention)", l, kind_name(layer.attention));
    layer.kv_source = last_owner(target, layer.attention);
    if (layer.kv_source < 0) {
      differences.push_back(fmt::format("{} has no layer of its kind to read in the model", name));
      continue;
    }
    const LayerSpec& source = target.layers[static_cast<size_t>(layer.kv_source)];
    compare(name + ": head size", layer.head_dim, source.head_dim);
    compare(name + ": key/value heads", layer.kv_heads, source.kv_heads);
  }
  return differences;
}

// use_ordered_embeddings: E2B's and E4B's drafters. The numbers of clusters stand in the other drafters' files, too.
Result<void> read_clusters(const JsonObject& root, DrafterConfig& config) {
  ASSIGN_OR_RETURN(const bool clustered, root.boolean_or("use_ordered_embeddings", false));
  if (!clustered) return {};
  ASSIGN_OR_RETURN(const int64_t clusters, root.integer_or("num_centroids", 1, config.vocab, 2048));
  if (config.vocab % clusters != 0) {
    return contradiction(
        root, fmt::format("\"num_centroids\": expected a divisor of vocab_size, {}, found {}", config.vocab, clusters));
  }
  ASSIGN_OR_RETURN(const int64_t active, root.integer_or("centroid_intermediate_top_k", 1, clusters, 32));
  config.clusters = static_cast<int32_t>(clusters);
  config.active_clusters = static_cast<int32_t>(active);
  return {};
}

}  // namespace

int32_t DrafterConfig::head_dim_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.head_dim; });
}

int32_t DrafterConfig::ffn_hidden_max() const {
  return largest(layers, [](const LayerSpec& l) { return l.ffn_hidden; });
}

Result<DrafterConfig> read_drafter_config(const Json& json, std::string_view source, const ModelConfig& target) {
  ASSIGN_OR_RETURN(const JsonObject root, JsonObject::of(json, std::string(source)));
  ASSIGN_OR_RETURN(const std::string type, root.string("model_type"));
  constexpr std::array kTypes = {"gemma4_unified_assistant", "gemma4_assistant"};
  if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) {
    return unsupported(
        root, fmt::format("\"model_type\": expected {} for a drafter, found {}", fmt::join(kTypes, " or "), type));
  }
  DrafterConfig config;
  ASSIGN_OR_RETURN(config.backbone_dim, dimension(root, "backbone_hidden_size"));
  ASSIGN_OR_RETURN(const JsonObject text, root.object("text_config"));
  ASSIGN_OR_RETURN(TextSection section, read_text_section(text, kLayersMax));
  config.dim = section.dim;
  config.heads = section.heads;
  config.vocab = section.vocab;
  config.rms_eps = section.rms_eps;
  config.layers = std::move(section.layers);
  const int64_t layers = static_cast<int64_t>(config.layers.size());
  // 0 or absent means the same as all of them.
  ASSIGN_OR_RETURN(const int64_t shared, text.integer_or("num_kv_shared_layers", 0, kLayersMax, 0));
  if (shared != 0 && shared != layers)
    return unsupported(text,
                       fmt::format("\"num_kv_shared_layers\": expected all {} of a drafter, found {}", layers, shared));
  ASSIGN_OR_RETURN(const int64_t per_layer, text.integer_or("hidden_size_per_layer_input", 0, kDimMax, 0));
  ASSIGN_OR_RETURN(const bool experts, text.boolean_or("enable_moe_block", false));
  if (per_layer != 0 || experts) return unsupported(text, "a drafter has neither per-layer inputs nor experts");

  RETURN_IF_ERROR(read_clusters(root, config));

  const std::vector<std::string> differences = attach(config, target);
  if (!differences.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: the drafter does not belong to the model: {}", source, fmt::join(differences, "; "))};
  }
  return config;
}

}  // namespace lapidary
