// How many positions there is room for, and what that costs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "model/config.h"

namespace lapidary {

struct MemoryPlan {
  int32_t context = 0;    // positions of one sequence
  int32_t sequences = 1;  // whose windows there is room for, beside the rows of the largest step
  int32_t sliding_pages = 0, global_pages = 0;
  int64_t kv_bytes = 0;
  int64_t prefix_bytes = 0;  // of kv_bytes: what finished prefixes may take while nobody else wants it

  // One line: what the options imply.
  std::string description() const;
};

// asked: positions of one sequence the user wants; absent: what the model allows and kv_bytes_max permits. With several
// sequences, every one has room for its window, and memory that is left holds further positions of global layers, at
// most a whole context for each. Errors: kInvalidArgument when asked exceeds the model's limit, kExhausted when it does
// not fit (both say how much would).
Result<MemoryPlan> plan_memory(const ModelConfig& config, DType kv_type, int32_t step_rows_max,
                               std::optional<int32_t> asked, int64_t kv_bytes_max, int32_t sequences = 1);

// Sets prefix_bytes. asked: what the user wants; absent: a quarter of the K/V memory, and at least what the
// longest conversation leaves behind, so that its next turn goes on from there: the global pages of a whole context and
// two windows of sliding ones, of its last prompt's end and its last answer's. Never more than kv_bytes.
void plan_prefixes(MemoryPlan& plan, const ModelConfig& config, DType kv_type, std::optional<int64_t> asked);

// Bytes the system can still give without swapping; 0 when unknown.
int64_t available_memory_bytes();

}  // namespace lapidary
