// The drafter's weights by meaning.
#pragma once

#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "model/drafter_config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

struct DrafterWeights {
  QuantizedMatrix pre_projection;    // [dim, 2 * backbone_dim]: the token's embedding first, then the carried vector
  QuantizedMatrix post_projection;   // [backbone_dim, dim]
  std::vector<LayerWeights> layers;  // k, v and k_norm empty
  NormWeight final_norm;             // [dim]
  QuantizedMatrix head;              // [vocab, dim]: embed_tokens, which a drafter uses for nothing else
};

// Finds every tensor and checks every shape, as bind_weights does for the model. Errors: kCorruptFile.
Result<DrafterWeights> bind_drafter_weights(const Checkpoint& checkpoint, const DrafterConfig& config,
                                            std::string_view source, Ops& ops);

}  // namespace lapidary
