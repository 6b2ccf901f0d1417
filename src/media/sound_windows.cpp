#include "media/sound_windows.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "media/audio_file.h"

namespace lapidary {
namespace {

constexpr int64_t kFrame = kSampleRate / 50;
constexpr int64_t kMargin = kSampleRate / 5;
constexpr int64_t kBlockFrames = 500;  // levels are taken over 10 s and those on either side
constexpr int64_t kRunFramesMin = 3;   // what is shorter is a click
constexpr int64_t kQuietFrames = 5;    // a cut inside a run is made in the quietest tenth of a second
constexpr double kFloorFactor = 4.0;   // above noise by 12 dB
constexpr double kLoudFactor = 0.25;   // or within 12 dB of what is loud here
constexpr double kSilence = 1e-3;      // -60 dB of full scale: below, nothing is anything

struct Run {
  int64_t begin, end;  // frames
};

// Root mean square of each frame of 20 ms; the last one may be shorter.
std::vector<float> frame_levels(std::span<const float> samples) {
  std::vector<float> levels;
  levels.reserve(samples.size() / kFrame + 1);
  for (int64_t first = 0; first < std::ssize(samples); first += kFrame) {
    const int64_t count = std::min(kFrame, std::ssize(samples) - first);
    double sum = 0;
    for (int64_t i = first; i < first + count; ++i) sum += static_cast<double>(samples[i]) * samples[i];
    levels.push_back(static_cast<float>(std::sqrt(sum / static_cast<double>(count))));
  }
  return levels;
}

// The level from which a frame of this block counts as sound. Where loud and quiet lie close together everything does.
float threshold_of(std::span<const float> levels, int64_t block) {
  const int64_t begin = std::max<int64_t>(0, (block - 1) * kBlockFrames),
                end = std::min<int64_t>(std::ssize(levels), (block + 2) * kBlockFrames);
  std::vector<float> sorted(levels.begin() + begin, levels.begin() + end);
  const auto at = [&](double share) {
    const auto nth = sorted.begin() + static_cast<int64_t>(share * static_cast<double>(sorted.size() - 1));
    std::nth_element(sorted.begin(), nth, sorted.end());
    return static_cast<double>(*nth);
  };
  const double floor = at(0.10), loud = at(0.95);
  return static_cast<float>(std::max(kSilence, std::min(kFloorFactor * floor, kLoudFactor * loud)));
}

// Runs of frames that are sound, clicks left out.
std::vector<Run> sounding_runs(std::span<const float> levels) {
  std::vector<Run> runs;
  float threshold = 0;
  bool inside = false;
  for (int64_t i = 0; i < std::ssize(levels); ++i) {
    if (i % kBlockFrames == 0) threshold = threshold_of(levels, i / kBlockFrames);
    const bool sound = levels[i] >= threshold;
    if (sound && !inside) runs.push_back({i, i});
    if (sound) runs.back().end = i + 1;
    inside = sound;
  }
  std::erase_if(runs, [](const Run& run) { return run.end - run.begin < kRunFramesMin; });
  return runs;
}

// Where to cut a run that begins at begin and does not fit: the middle of the quietest frames of the second half of
// what fits.
int64_t quietest(std::span<const float> levels, int64_t begin, int64_t frames_max) {
  int64_t best = begin + frames_max;
  double least = INFINITY;
  for (int64_t i = begin + frames_max / 2; i + kQuietFrames <= begin + frames_max; ++i) {
    double sum = 0;
    for (int64_t j = i; j < i + kQuietFrames; ++j) sum += static_cast<double>(levels[j]) * levels[j];
    if (sum <= least) {  // the later of equals
      least = sum;
      best = i + kQuietFrames / 2;
    }
  }
  return std::max(best, begin + 1);
}

struct Piece {
  Run run;
  bool after_pause;
};

// A run that does not fit becomes several that touch.
std::vector<Run> fitting(std::span<const float> levels, Run run, int64_t frames_max) {
  std::vector<Run> parts;
  while (run.end - run.begin > frames_max) {
    const int64_t cut = quietest(levels, run.begin, frames_max);
    parts.push_back({run.begin, cut});
    run.begin = cut;
  }
  parts.push_back(run);
  return parts;
}

// How many of the runs of a full window stay in it, when `next` does not fit any more: the widest gap of its second
// half ends it, the last of equals.
size_t runs_kept(const std::vector<Run>& runs, const Run& next, int64_t frames_max) {
  size_t best = runs.size();
  int64_t widest = next.begin - runs.back().end;
  for (size_t i = runs.size() - 1; i > 0 && runs[i - 1].end - runs.front().begin >= frames_max / 2; --i) {
    const int64_t gap = runs[i].begin - runs[i - 1].end;
    if (gap > widest) {
      widest = gap;
      best = i;
    }
  }
  return best;
}

// Runs joined across short gaps while they fit into one window.
std::vector<Piece> pieces_of(std::span<const float> levels, const std::vector<Run>& runs, int64_t frames_max,
                             int64_t pause_frames) {
  std::vector<Piece> pieces;
  std::vector<Run> open;  // of the window being filled
  bool after_pause = true;
  const auto close = [&](size_t count) {
    pieces.push_back({{open.front().begin, open[count - 1].end}, after_pause});
    open.erase(open.begin(), open.begin() + static_cast<std::ptrdiff_t>(count));
    after_pause = false;
  };
  for (const Run& run : runs) {
    if (!open.empty() && run.begin - open.back().end >= pause_frames) {
      close(open.size());
      after_pause = true;
    }
    for (const Run& part : fitting(levels, run, frames_max)) {
      while (!open.empty() && part.end - open.front().begin > frames_max) close(runs_kept(open, part, frames_max));
      open.push_back(part);
    }
  }
  if (!open.empty()) close(open.size());
  return pieces;
}

}  // namespace

std::vector<SoundWindow> sound_windows(std::span<const float> samples, const WindowOptions& options) {
  CHECK(options.samples_max >= kSampleRate && options.pause_seconds > 0);
  const std::vector<float> levels = frame_levels(samples);
  const int64_t frames_max = options.samples_max / kFrame,
                pause_frames = std::max<int64_t>(1, std::llround(options.pause_seconds * kSampleRate / kFrame));
  const std::vector<Piece> pieces = pieces_of(levels, sounding_runs(levels), frames_max, pause_frames);
  std::vector<SoundWindow> windows;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const int64_t begin = pieces[i].run.begin * kFrame, end = std::min(pieces[i].run.end * kFrame, std::ssize(samples));
    // Neighbours share the silence between them evenly.
    const int64_t before = i == 0 ? begin : (begin - pieces[i - 1].run.end * kFrame) / 2,
                  after = i + 1 == pieces.size() ? std::ssize(samples) - end
                                                 : (pieces[i + 1].run.begin * kFrame - end + 1) / 2;
    const int64_t spare = options.samples_max - (end - begin);
    const int64_t left = std::min({before, kMargin, spare / 2}), right = std::min({after, kMargin, spare - left});
    windows.push_back({begin - left, end + right, pieces[i].after_pause});
  }
  return windows;
}

}  // namespace lapidary
