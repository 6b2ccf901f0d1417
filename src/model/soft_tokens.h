// SoftTokens: pictures, frames and clips become rows of the decoder's input, through the vision tower or the conformer
// where the model has one, else through one dense layer.
#pragma once

#include <optional>

#include "base/media_input.h"
#include "model/audio_tower.h"
#include "model/config.h"
#include "model/vision_tower.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

// Checks that the model can take this input. Errors: kInvalidArgument / kUnsupported, saying what the model expects.
Result<void> check_media(const ModelConfig& config, const MediaInput& input);

class SoftTokens {
 public:
  // rows_max: rows encoded at a time; longer inputs go in pieces. Errors: kExhausted.
  static Result<SoftTokens> create(const ModelConfig& config, const ModelWeights& weights, Ops& ops, int32_t rows_max);

  // Encodes rows [begin, begin + out.rows) of a checked input into out [rows, dim]; a picture that goes through a tower
  // comes whole.
  void encode(const MediaInput& input, int32_t begin, TensorView out);

  VisionTower* vision_tower() { return vision_tower_ ? &*vision_tower_ : nullptr; }
  AudioTower* audio_tower() { return audio_tower_ ? &*audio_tower_ : nullptr; }

 private:
  SoftTokens(const ModelConfig& config, const ModelWeights& weights, Ops& ops)
      : config_(&config), weights_(&weights), ops_(&ops) {}

  void encode_patches(const MediaInput& input, int32_t begin, TensorView out);
  void encode_frames(const MediaInput& input, int32_t begin, TensorView out);

  const ModelConfig* config_;
  const ModelWeights* weights_;
  Ops* ops_;
  std::optional<VisionTower> vision_tower_;
  std::optional<AudioTower> audio_tower_;
  TensorView patches_;          // [rows, patch_values]
  TensorView embed_;            // [rows, embed_dim]
  TensorView x_rows_, y_rows_;  // [rows, 1] kI32: rows of the position table
  TensorView frames_;           // [rows, samples_per_token]
};

}  // namespace lapidary
