// DrafterConfig: the shape of an MTP drafter, a small decoder whose layers own no K and V but read the target's.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"

namespace lapidary {

struct DrafterConfig {
  int32_t dim = 0, heads = 0, vocab = 0;
  int32_t backbone_dim = 0;  // width of the target's stream: of its embeddings and of the carried vector
  float rms_eps = 1e-6f;
  // The clustered ("ordered") head: the vocabulary in so many clusters of equal size, of which only the active_clusters
  // best of a row are scored. 0: a dense head.
  int32_t clusters = 0, active_clusters = 0;
  std::vector<LayerSpec> layers;  // kv_source: the target's layer whose K and V are read, its last one of the same kind

  int32_t cluster_tokens() const { return clusters > 0 ? vocab / clusters : 0; }
  int32_t head_dim_max() const;
  int32_t ffn_hidden_max() const;
};

// Reads the drafter's config.json and compares it with the model it is to draft for: vocabulary, width, and each
// layer's K/V heads. source names the file in messages. Errors: kUnsupported for what is not a Gemma 4 drafter,
// kCorruptFile for missing or ill-typed values, kInvalidArgument for a drafter of another model (lists every
// difference).
Result<DrafterConfig> read_drafter_config(const Json& config, std::string_view source, const ModelConfig& target);

}  // namespace lapidary
