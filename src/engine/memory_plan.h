// How many positions there is room for, and what that costs.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "model/config.h"

namespace lapidary {

struct MemoryPlan {
  int32_t context = 0;  // positions of one sequence
  int32_t sliding_pages = 0, global_pages = 0;
  int64_t kv_bytes = 0;
};

// asked: positions the user wants; absent: what the model allows and kv_bytes_max permits. Errors: kInvalidArgument
// when asked exceeds the model's limit, kExhausted when it does not fit (both say how much would).
Result<MemoryPlan> plan_memory(const ModelConfig& config, DType kv_type, int32_t step_rows_max,
                               std::optional<int32_t> asked, int64_t kv_bytes_max);

// Bytes the system can still give without swapping; 0 when unknown.
int64_t available_memory_bytes();

}  // namespace lapidary
