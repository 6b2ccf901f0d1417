// Sound -> log-mel rows, what the conformer of E2B and E4B reads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/options.h"

namespace lapidary {

// Rows that `samples` samples give: one for every frame whose last sample and the one after it are real ones, the first
// frame beginning frame_samples / 2 before the sound. With the released values (samples - 1) / hop_samples, and 0 below
// 161 samples.
int32_t mel_rows(int64_t samples, const MelOptions& options);

// [mel_rows, bands], row after row. As Gemma4AudioFeatureExtractor in transformers: frames under a periodic Hann
// window, magnitudes (not powers) of their spectrum, triangles that are linear in Hz between points evenly spaced on
// the HTK mel scale, natural logarithm of the sum plus the floor. Sums in double.
std::vector<float> log_mel(std::span<const float> samples, const MelOptions& options);

}  // namespace lapidary
