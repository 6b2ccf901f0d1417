// AudioTowerConfig: the sound encoder of E2B and E4B as data, read from audio_config.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "base/result.h"

namespace lapidary {

// Log-mel rows go through two convolutions, each of which halves time and bands, and `layers` conformer layers; every
// fourth row becomes one soft token.
struct AudioTowerConfig {
  int32_t bands = 0;     // of a mel row; the reference takes the first convolution's channels for their number
  int32_t channels = 0;  // of the second convolution
  int32_t dim = 0, layers = 0, heads = 0;
  int32_t taps = 0;        // of the convolution along time
  int32_t keys = 0;        // rows a row attends to, itself included
  int32_t output_dim = 0;  // between the encoder and the projection into the decoder
  float residual = 0.5f;   // of a feed-forward network's answer
  float cap = 50.0f;       // of attention scores
  float clamp = 1e10f;     // of the stream, before norms
  float rms_eps = 1e-6f;   // of the norms around convolutions and before the projection
  bool clipped = false;    // every linear layer of the conformer has ranges for its input and output

  int32_t head_dim() const { return dim / heads; }
  int32_t ffn_hidden() const { return 4 * dim; }
  int32_t flat_width() const { return bands / 4 * channels; }  // of a row after both convolutions
};

// audio: the audio_config of a gemma4 model; keys that are absent have the reference's defaults, keys it does not know
// are ignored. Errors: kCorruptFile for ill-typed or contradictory values, kUnsupported for values the encoder has no
// meaning for.
Result<AudioTowerConfig> read_audio_tower_config(const JsonObject& audio);

}  // namespace lapidary
