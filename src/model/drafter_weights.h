// The drafter's weights by meaning.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "model/drafter_config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

// A clustered head. The head's rows are copied in the order of the clusters, so that a cluster is a matrix like any
// other.
struct ClusterWeights {
  QuantizedMatrix centroids;             // [clusters, dim]
  std::vector<int32_t> tokens;           // [vocab]: ids of cluster c at [c * cluster_tokens, (c + 1) * cluster_tokens)
  std::vector<QuantizedMatrix> heads;    // of each cluster, [cluster_tokens, dim]: its tokens' rows
  std::unique_ptr<std::byte[]> storage;  // what the rows lie in
};

struct DrafterWeights {
  QuantizedMatrix pre_projection;    // [dim, 2 * backbone_dim]: the token's embedding first, then the carried vector
  QuantizedMatrix post_projection;   // [backbone_dim, dim]
  std::vector<LayerWeights> layers;  // k, v and k_norm empty
  NormWeight final_norm;             // [dim]
  // embed_tokens, which a drafter uses for nothing else:
  QuantizedMatrix head;     // [vocab, dim]; empty with a clustered head
  ClusterWeights clusters;  // bound when config.clusters > 0
};

// Finds every tensor and checks every shape, as bind_weights does for the model. Errors: kCorruptFile, also where the
// clusters do not hold every token once; kExhausted.
Result<DrafterWeights> bind_drafter_weights(const Checkpoint& checkpoint, const DrafterConfig& config,
                                            std::string_view source, Ops& ops);

}  // namespace lapidary
