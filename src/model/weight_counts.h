// What a token costs in weights: read for a decoded one, multiplied for one of a prompt.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weights.h"

namespace lapidary {

// Bytes read to decode a token: all layers, of experts those it chooses, and the head.
int64_t decode_bytes(const ModelWeights& weights, const ModelConfig& config);

// Weights multiplied for a token of a prompt. Not those of borrowing layers and of the head, which only the last one
// passes.
int64_t prompt_weights(const ModelWeights& weights, const ModelConfig& config);

}  // namespace lapidary
