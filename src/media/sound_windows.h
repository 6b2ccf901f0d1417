// A long recording -> windows that a model hears one at a time, cut where nobody speaks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/limits.h"

namespace lapidary {

struct SoundWindow {
  int64_t begin = 0, end = 0;  // samples
  bool after_pause = false;    // what stands between this window and the one before is a pause; the first: true
};

struct WindowOptions {
  int64_t samples_max = kLimits.audio_clip_samples_max;  // of a window
  double pause_seconds = 0.7;                            // shorter ones are cut at only where a window is full
};

// Windows in order, disjoint, none empty and none longer than samples_max. What is left out is silence: frames of 20 ms
// that are neither near the level at which things happen around them nor well above its noise. A window takes a fifth
// of a second of silence with it on either side where there is that much. A window that is full ends at
// the widest gap of its second half; sound without a gap is cut where that half is quietest. Silence alone gives no
// window.
std::vector<SoundWindow> sound_windows(std::span<const float> samples, const WindowOptions& options);

}  // namespace lapidary
