// The vision tower's tensors by name, with every shape checked.
#pragma once

#include "model/vision_config.h"
#include "model/weight_binder.h"
#include "model/weights.h"

namespace lapidary {

// Under model.vision_tower. and model.embed_vision., or without "model."; linear layers with or without ".linear".
// decoder_dim: width of the rows the soft tokens become. What does not fit is reported by bind.finish().
VisionTowerWeights bind_vision_tower(WeightBinder& bind, const VisionTowerConfig& config, int32_t decoder_dim);

}  // namespace lapidary
