// AudioTower: the sound encoder of E2B and E4B, a conformer. A clip's log-mel rows become soft tokens in the decoder's
// width, one for every 40 ms.
//
// A row sees nothing but itself, the rows before it and three mel rows after it, and nothing here depends on how many
// rows are computed together.
#pragma once

#include <functional>
#include <span>

#include "base/media_input.h"
#include "model/audio_config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

// Checks that the tower can read this clip: rows of the configured bands, a soft token for every fourth, at most
// Limits::audio_clip_tokens_max of them. Errors: kInvalidArgument, saying what the model expects.
Result<void> check_tower_sound(const AudioTowerConfig& config, const MediaInput& input);

class AudioTower {
 public:
  // Workspace for the longest clip, and what depends on the weights alone. Errors: kExhausted.
  static Result<AudioTower> create(const AudioTowerConfig& config, const AudioTowerWeights& weights, Ops& ops);

  // Rows [begin, begin + out.rows) of a checked clip's soft tokens into out [rows, decoder dim]. The clip is encoded
  // whole, once: what was encoded last is kept for the next piece of a prompt.
  void encode(const MediaInput& input, int32_t begin, TensorView out);

  // Called with the stream [tokens, dim] as it enters layer 0 (-1), after each layer, and with what leaves the encoder
  // [tokens, output_dim] (the number of layers). For tests.
  void set_probe(std::function<void(int32_t layer, TensorView x)> probe) { probe_ = std::move(probe); }

 private:
  AudioTower(const AudioTowerConfig& config, const AudioTowerWeights& weights, Ops& ops)
      : config_(&config), weights_(&weights), ops_(&ops) {}

  Result<void> allocate();
  Result<void> make_distances();
  void encode_clip(const MediaInput& input);
  void subsample(const MediaInput& input, int32_t first, TensorView out);
  void feed_forward(const ConformerFfnWeights& w, TensorView x);
  void attention(const ConformerLayerWeights& w, TensorView distances, TensorView x);
  void convolution(const ConformerLayerWeights& w, TensorView x);
  // y[i] = clamp(w[i] * clamp(x, input range), output range)
  void linear(TensorView x, std::span<const ClippedMatrix* const> w, std::span<const TensorView> y);

  const AudioTowerConfig* config_;
  const AudioTowerWeights* weights_;
  Ops* ops_;
  std::function<void(int32_t, TensorView)> probe_;
  // Of a piece of the clip, on the way through the convolutions.
  TensorView mel_;                      // [mel rows * bands, 1]
  TensorView first_windows_, first_;    // [times * bands / 2, 9], [.., first channels]
  TensorView second_windows_, second_;  // [tokens * bands / 4, 9 * first channels], [.., second channels]
  TensorView x_, h_, q_, k_, v_;        // [tokens, dim]
  TensorView wide_, clipped_;           // [tokens, 4 * dim], and the widest input of a linear layer
  TensorView output_, encoded_;         // [tokens, output_dim], [tokens, decoder dim]
  std::vector<TensorView> distances_;   // by layer: [keys, dim]
  uint64_t encoded_hash_ = 0;           // of the clip in encoded_
  int32_t encoded_rows_ = 0;
};

}  // namespace lapidary
