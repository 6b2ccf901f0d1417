// generation_config.json: how the publisher wants the model sampled, and where it stops.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"

namespace lapidary {

struct GenerationDefaults {
  float temperature = 1.0f, top_p = 0.95f, min_p = 0.0f;
  int32_t top_k = 64;
  std::vector<int32_t> stop_ids;        // union with config.json's
  std::vector<int32_t> suppressed_ids;  // never chosen, greedy included
};

// json may be absent: the family's defaults. Errors: kCorruptFile, naming key, expected and found.
Result<GenerationDefaults> read_generation_defaults(const std::optional<Json>& json, std::string_view source,
                                                    const ModelConfig& config);

}  // namespace lapidary
