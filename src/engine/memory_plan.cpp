#include "engine/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "engine/kv_cache.h"
#include "model/decoder.h"

namespace lapidary {
namespace {

int64_t page_bytes(const KvLayout& layout, AttentionKind kind, DType kv_type) {
  return kv_page_bytes(layout.groups[static_cast<size_t>(kind)], kv_type);
}

MemoryPlan plan_for(const ModelConfig& config, DType kv_type, int32_t step_rows_max, int32_t context,
                    int32_t sequences) {
  const KvLayout layout = kv_layout(config);
  MemoryPlan plan;
  plan.context = context;
  plan.sequences = sequences;
  plan.sliding_pages = sliding_pages(config.sliding_window, step_rows_max, context, sequences);
  plan.global_pages = global_pages(context);
  plan.kv_bytes = plan.sliding_pages * page_bytes(layout, AttentionKind::kSliding, kv_type) +
                  plan.global_pages * page_bytes(layout, AttentionKind::kGlobal, kv_type);
  return plan;
}

}  // namespace

Result<MemoryPlan> plan_memory(const ModelConfig& config, DType kv_type, int32_t step_rows_max,
                               std::optional<int32_t> asked, int64_t kv_bytes_max, int32_t sequences) {
  if (asked && (*asked < 1 || *asked > config.positions_max)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--context: expected 1 to {} positions (the model's limit), found {}",
                             config.positions_max, *asked)};
  }
  // The cost grows with the context: the largest that fits, by bisection.
  int32_t fits = 0, beyond = config.positions_max + 1;
  while (beyond - fits > 1) {
    const int32_t middle = fits + (beyond - fits) / 2;
    (plan_for(config, kv_type, step_rows_max, middle, sequences).kv_bytes <= kv_bytes_max ? fits : beyond) = middle;
  }
  if (fits == 0 || (asked && *asked > fits)) {
    const MemoryPlan wanted = plan_for(config, kv_type, step_rows_max, asked.value_or(1), sequences);
    return Error{ErrorCode::kExhausted,
                 fmt::format("K/V memory for {} positions takes {} MiB, {} MiB are free: room for {} positions",
                             wanted.context, wanted.kv_bytes >> 20, kv_bytes_max >> 20, fits)};
  }
  MemoryPlan plan = plan_for(config, kv_type, step_rows_max, asked.value_or(fits), sequences);
  const int64_t bytes = page_bytes(kv_layout(config), AttentionKind::kGlobal, kv_type);
  if (sequences > 1 && bytes > 0) {
    const int64_t more = std::min((kv_bytes_max - plan.kv_bytes) / bytes,
                                  static_cast<int64_t>(sequences - 1) * global_pages(plan.context));
    plan.global_pages += static_cast<int32_t>(std::max<int64_t>(more, 0));
    plan.kv_bytes += std::max<int64_t>(more, 0) * bytes;
  }
  return plan;
}

void plan_prefixes(MemoryPlan& plan, const ModelConfig& config, DType kv_type, std::optional<int64_t> asked) {
  const KvLayout layout = kv_layout(config);
  const int64_t longest =
      2LL * global_pages(config.sliding_window) * page_bytes(layout, AttentionKind::kSliding, kv_type) +
      static_cast<int64_t>(global_pages(plan.context)) * page_bytes(layout, AttentionKind::kGlobal, kv_type);
  plan.prefix_bytes = std::min(plan.kv_bytes, asked.value_or(std::max(plan.kv_bytes / 4, longest)));
}

std::string MemoryPlan::description() const {
  return fmt::format(
      "K/V {} MiB: contexts of {} positions, {} at a time, sharing {} positions of global and {} of sliding layers; "
      "finished prefixes up to {} MiB",
      kv_bytes >> 20, context, sequences, static_cast<int64_t>(global_pages) * kPagePositions,
      static_cast<int64_t>(sliding_pages) * kPagePositions, prefix_bytes >> 20);
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
