// VisionTowerConfig: the vision encoder of E2B, E4B, 26B-A4B and 31B as data, read from vision_config.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "base/result.h"

namespace lapidary {

// Patches of patch_pixels x patch_pixels go through `layers` bidirectional layers; pooling x pooling of them become one
// soft token.
struct VisionTowerConfig {
  int32_t patch_pixels = 0, pooling = 0;
  int32_t dim = 0, layers = 0, heads = 0, head_dim = 0, ffn_hidden = 0;
  int32_t positions = 0;  // entries of the position table along each axis
  float rope_theta = 100.0f;
  float rms_eps = 1e-6f;
  bool clipped = false;       // every linear layer of the encoder has ranges for its input and output
  bool standardised = false;  // pooled rows are shifted and scaled column by column

  int32_t patch_values() const { return patch_pixels * patch_pixels * 3; }
  int32_t patches_per_token() const { return pooling * pooling; }
};

// vision: the vision_config of a gemma4 model; keys that are absent have the reference's defaults, keys it does not
// know are ignored. Errors: kCorruptFile for missing, ill-typed or contradictory values, kUnsupported for values the
// encoder has no meaning for.
Result<VisionTowerConfig> read_vision_tower_config(const JsonObject& vision);

}  // namespace lapidary
