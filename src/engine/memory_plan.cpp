#include "engine/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "engine/kv_cache.h"
#include "model/decoder.h"

namespace lapidary {
namespace {

MemoryPlan plan_for(const ModelConfig& config, DType kv_type, int32_t step_rows_max, int32_t context) {
  const KvLayout layout = kv_layout(config);
  MemoryPlan plan;
  plan.context = context;
  plan.sliding_pages = sliding_pages(config.sliding_window, step_rows_max, context);
  plan.global_pages = global_pages(context);
  plan.kv_bytes =
      plan.sliding_pages * kv_page_bytes(layout.groups[static_cast<size_t>(AttentionKind::kSliding)], kv_type) +
      plan.global_pages * kv_page_bytes(layout.groups[static_cast<size_t>(AttentionKind::kGlobal)], kv_type);
  return plan;
}

}  // namespace

Result<MemoryPlan> plan_memory(const ModelConfig& config, DType kv_type, int32_t step_rows_max,
                               std::optional<int32_t> asked, int64_t kv_bytes_max) {
  if (asked && (*asked < 1 || *asked > config.positions_max)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--context: expected 1 to {} positions (the model's limit), found {}",
                             config.positions_max, *asked)};
  }
  // The cost grows with the context: the largest that fits, by bisection.
  int32_t fits = 0, beyond = config.positions_max + 1;
  while (beyond - fits > 1) {
    const int32_t middle = fits + (beyond - fits) / 2;
    (plan_for(config, kv_type, step_rows_max, middle).kv_bytes <= kv_bytes_max ? fits : beyond) = middle;
  }
  if (fits == 0 || (asked && *asked > fits)) {
    const MemoryPlan wanted = plan_for(config, kv_type, step_rows_max, asked.value_or(1));
    return Error{ErrorCode::kExhausted,
                 fmt::format("K/V memory for {} positions takes {} MiB, {} MiB are free: room for {} positions",
                             wanted.context, wanted.kv_bytes >> 20, kv_bytes_max >> 20, fits)};
  }
  return plan_for(config, kv_type, step_rows_max, asked.value_or(fits));
}

int64_t available_memory_bytes() {
  std::ifstream in("/proc/meminfo");
  std::string key, unit;
  int64_t kib = 0;
  while (in >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(in, unit);
  }
  return 0;
}

}  // namespace lapidary
