// How pictures, clips and sound are cut into soft tokens. The defaults are those of the released models.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/limits.h"

namespace lapidary {

// The soft-token budgets the reference preprocessing accepts.
inline constexpr std::array<int32_t, 5> kSoftTokenBudgets = {70, 140, 280, 560, 1120};

struct ImageOptions {
  int32_t patch_size = 16;          // pixels, of the vision tower's patches
  int32_t pooling_kernel_size = 3;  // patches per soft token, along one axis
  int32_t max_soft_tokens = 280;    // budget of one picture; one of kSoftTokenBudgets
  bool tower_patches = false;       // cut patches of patch_size, for a vision tower; else one of side() a soft token

  int32_t side() const { return patch_size * pooling_kernel_size; }  // pixels of one soft token, along one axis
};

// Log-mel rows, which a conformer reads.
struct MelOptions {
  int32_t bands = 128;
  int32_t frame_samples = 320, hop_samples = 160;  // at 16 kHz: 20 and 10 ms
  int32_t fft_length = 512;                        // a power of two, at least frame_samples
  double low_hz = 0, high_hz = 8000;
  double floor = 1e-3;  // added before the logarithm
};

struct AudioOptions {
  int32_t samples_per_token = 640;                            // at 16 kHz: 40 ms
  std::optional<MelOptions> mel;                              // instead of frames of samples
  int32_t clip_samples_max = kLimits.audio_clip_samples_max;  // what is longer is cut
};

struct VideoOptions {
  int32_t patch_size = 16;
  int32_t pooling_kernel_size = 3;
  int32_t max_soft_tokens = 70;  // budget of one frame
  bool tower_patches = false;
  int32_t num_frames = 32;    // taken uniformly from the whole clip, all of a shorter one
  std::optional<double> fps;  // take that many per second instead
  // The sound of a clip between its frames: after each frame what is heard until the next.
  std::optional<AudioOptions> sound;

  ImageOptions frame() const { return {patch_size, pooling_kernel_size, max_soft_tokens, tower_patches}; }
};

}  // namespace lapidary
