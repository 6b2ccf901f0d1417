// VisionTower: the vision encoder of E2B, E4B, 26B-A4B and 31B. A picture's patches go through bidirectional layers,
// are averaged in squares, and become soft tokens in the decoder's width.
//
// Row-wise work goes in pieces of some hundred patches; only the stream, q, k and v of the whole picture are held.
#pragma once

#include <functional>
#include <span>

#include "base/media_input.h"
#include "model/vision_config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

// Checks that the tower can read this picture or frame: shapes, a complete grid row by row whose sides are multiples of
// the pooling, every coordinate within the position table, at most Limits::image_tokens_max soft tokens.
// Errors: kInvalidArgument, saying what the model expects.
Result<void> check_tower_picture(const VisionTowerConfig& config, const MediaInput& input);

class VisionTower {
 public:
  // Workspace for the largest picture. Errors: kExhausted.
  static Result<VisionTower> create(const VisionTowerConfig& config, const VisionTowerWeights& weights, Ops& ops);

  // A checked picture becomes out [input.rows, decoder dim].
  void encode(const MediaInput& input, TensorView out);

  // Called with the stream [patches, dim] as it enters layer 0 (-1) and after each layer. For tests.
  void set_probe(std::function<void(int32_t layer, TensorView x)> probe) { probe_ = std::move(probe); }

 private:
  VisionTower(const VisionTowerConfig& config, const VisionTowerWeights& weights, Ops& ops)
      : config_(&config), weights_(&weights), ops_(&ops) {}

  Result<void> allocate();
  void embed_patches(const MediaInput& input);
  void attention(const VisionLayerWeights& w);
  void feed_forward(const VisionLayerWeights& w, TensorView x);
  void pool(const MediaInput& input, TensorView out);
  // y[i] = clamp(w[i] * clamp(x, input range), output range)
  void linear(TensorView x, std::span<const ClippedMatrix* const> w, std::span<const TensorView> y);
  // body(first, rows) for every piece of the picture's patches.
  template <class Body>
  void each_piece(Body body);

  const VisionTowerConfig* config_;
  const VisionTowerWeights* weights_;
  Ops* ops_;
  std::function<void(int32_t, TensorView)> probe_;
  int32_t patches_ = 0;                   // of the picture being encoded
  TensorView x_, q_, k_, v_;              // [patches, dim] and [patches, heads * head_dim]
  TensorView pixels_, h_, clipped_;       // of a piece: [rows, patch_values], [rows, dim], [rows, widest]
  TensorView gate_, up_;                  // of a piece: [rows, ffn_hidden]
  TensorView x_ids_, y_ids_, table_ids_;  // [patches, 1] kI32
  TensorView pool_ids_;                   // [patches, 1] kI32: the patches of each soft token, one after the other
  TensorView pooled_;                     // [soft tokens, dim]
};

}  // namespace lapidary
