#include "ops/ops.h"

namespace lapidary {

int64_t kv_page_bytes(const KvGroup& group, DType type) {
  int64_t values = 0;
  for (const KvLayerShape& layer : group.layers) values += 2LL * layer.head_dim * layer.kv_heads * kPagePositions;
  return values * dtype_bytes(type);
}

}  // namespace lapidary
