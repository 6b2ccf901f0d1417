// Finds the tensors of the sound encoder.
#pragma once

#include "model/audio_config.h"
#include "model/weight_binder.h"
#include "model/weights.h"

namespace lapidary {

// Under model.audio_tower. and model.embed_audio., or without "model." as MLX exports write them; decoder_dim is the
// width of the decoder. What is missing or of another shape is left to bind.finish().
AudioTowerWeights bind_audio_tower(WeightBinder& bind, const AudioTowerConfig& config, int32_t decoder_dim);

}  // namespace lapidary
