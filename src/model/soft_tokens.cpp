#include "model/soft_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace lapidary {
namespace {

// torch.nn.LayerNorm's default, which the reference's patch norms use; not the RMS norm's epsilon.
constexpr float kLayerNormEps = 1e-5f;

std::string_view kind_name(MediaKind kind) {
  switch (kind) {
    case MediaKind::kImage:
      return "an image";
    case MediaKind::kVideo:
      return "a video";
    case MediaKind::kAudio:
      return "audio";
  }
  return "";
}

}  // namespace

Result<void> check_media(const ModelConfig& config, const MediaInput& input) {
  const bool sound = input.kind == MediaKind::kAudio;
  if (!sound && config.vision_tower) return check_tower_picture(*config.vision_tower, input);
  if (sound && config.audio_tower) return check_tower_sound(*config.audio_tower, input);
  if (sound ? !config.audio : !config.vision) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("the model takes no {}: its config has no {}", sound ? "audio" : "images",
                             sound ? "audio_config" : "vision_config")};
  }
  const int32_t cols = sound ? config.audio->samples_per_token : config.vision->patch_values();
  if (input.rows < 1 || input.cols != cols ||
      input.values.size() != static_cast<size_t>(input.rows) * static_cast<size_t>(cols)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: expected rows of {} values, found {} values in {} rows of {}", kind_name(input.kind),
                             cols, input.values.size(), input.rows, input.cols)};
  }
  if (sound) return {};
  if (input.positions.size() != static_cast<size_t>(input.rows) * 2) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: expected a position for each of {} patches, found {}", kind_name(input.kind),
                             input.rows, input.positions.size() / 2)};
  }
  for (const int32_t p : input.positions) {
    if (p < 0 || p >= config.vision->positions) {
      return Error{
          ErrorCode::kInvalidArgument,
          fmt::format("{}: patch position {} lies outside the model's {} positions; use a smaller token budget",
                      kind_name(input.kind), p, config.vision->positions)};
    }
  }
  return {};
}

Result<SoftTokens> SoftTokens::create(const ModelConfig& config, const ModelWeights& weights, Ops& ops,
                                      int32_t rows_max) {
  SoftTokens soft(config, weights, ops);
  const DType type = ops.activation_type();
  if (config.vision) {
    ASSIGN_OR_RETURN(soft.patches_, ops.allocate(rows_max, config.vision->patch_values(), type));
    ASSIGN_OR_RETURN(soft.embed_, ops.allocate(rows_max, config.vision->embed_dim, type));
    ASSIGN_OR_RETURN(soft.x_rows_, ops.allocate(rows_max, 1, DType::kI32));
    ASSIGN_OR_RETURN(soft.y_rows_, ops.allocate(rows_max, 1, DType::kI32));
  }
  if (config.vision_tower) {
    ASSIGN_OR_RETURN(soft.vision_tower_, VisionTower::create(*config.vision_tower, weights.vision_tower, ops));
  }
  if (config.audio_tower) {
    ASSIGN_OR_RETURN(soft.audio_tower_, AudioTower::create(*config.audio_tower, weights.audio_tower, ops));
  }
  if (config.audio) {
    ASSIGN_OR_RETURN(soft.frames_, ops.allocate(rows_max, config.audio->samples_per_token, type));
  }
  return soft;
}

void SoftTokens::encode(const MediaInput& input, int32_t begin, TensorView out) {
  if (audio_tower_ && input.kind == MediaKind::kAudio) return audio_tower_->encode(input, begin, out);
  if (vision_tower_ && input.kind != MediaKind::kAudio) {
    CHECK(begin == 0 && out.rows == input.rows);
    return vision_tower_->encode(input, out);
  }
  const int32_t piece_max = input.kind == MediaKind::kAudio ? frames_.rows : patches_.rows;
  for (int32_t done = 0; done < out.rows;) {
    const int32_t rows = std::min(piece_max, out.rows - done);
    const TensorView piece = row_range(out, done, rows);
    input.kind == MediaKind::kAudio ? encode_frames(input, begin + done, piece)
                                    : encode_patches(input, begin + done, piece);
    done += rows;
  }
}

// u = LayerNorm(patch); u = dense u + bias; u = LayerNorm(u); u += position[x][0] + position[y][1]; u = LayerNorm(u);
// soft = projection * rms(u).   No rescaling of the pixels: they stay in [0, 1].
void SoftTokens::encode_patches(const MediaInput& input, int32_t begin, TensorView out) {
  const VisionPatchWeights& w = weights_->vision;
  const int32_t rows = out.rows;
  const TensorView patches = row_range(patches_, 0, rows), u = row_range(embed_, 0, rows);
  const TensorView x_rows = row_range(x_rows_, 0, rows), y_rows = row_range(y_rows_, 0, rows);
  ops_->write(std::span(input.values)
                  .subspan(static_cast<size_t>(begin) * static_cast<size_t>(input.cols),
                           static_cast<size_t>(rows) * static_cast<size_t>(input.cols)),
              patches);
  std::vector<int32_t> xs, ys;
  for (int32_t r = begin; r < begin + rows; ++r) {
    xs.push_back(2 * input.positions[static_cast<size_t>(2 * r)]);
    ys.push_back(2 * input.positions[static_cast<size_t>(2 * r + 1)] + 1);
  }
  ops_->write_ids(xs, x_rows);
  ops_->write_ids(ys, y_rows);

  ops_->layer_norm(patches, w.patch_norm, w.patch_norm_bias, kLayerNormEps, patches);
  ops_->project(patches, std::array{&w.dense}, std::array{u});
  ops_->add_bias(w.dense_bias, u);
  ops_->layer_norm(u, w.embed_norm, w.embed_norm_bias, kLayerNormEps, u);
  ops_->add_rows(w.positions, x_rows, u);
  ops_->add_rows(w.positions, y_rows, u);
  ops_->layer_norm(u, w.position_norm, w.position_norm_bias, kLayerNormEps, u);
  ops_->rms_norm(u, {}, config_->vision->rms_eps, u);
  ops_->project(u, std::array{&w.projection}, std::array{out});
}

// soft = projection * rms(samples). The epsilon matters: a quiet frame is not blown up to full scale.
void SoftTokens::encode_frames(const MediaInput& input, int32_t begin, TensorView out) {
  const TensorView frames = row_range(frames_, 0, out.rows);
  ops_->write(std::span(input.values)
                  .subspan(static_cast<size_t>(begin) * static_cast<size_t>(input.cols),
                           static_cast<size_t>(out.rows) * static_cast<size_t>(input.cols)),
              frames);
  ops_->rms_norm(frames, {}, config_->audio->rms_eps, frames);
  ops_->project(frames, std::array{&weights_->audio_projection}, std::array{out});
}

}  // namespace lapidary
