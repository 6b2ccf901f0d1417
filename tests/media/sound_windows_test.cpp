// Where a long recording is cut.
#include "media/sound_windows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/rng.h"
#include "media/audio_file.h"

namespace lapidary {
namespace {

// Builds a recording: speech is a tone whose loudness comes and goes four times a second, over noise.
struct Recording {
  std::vector<float> samples;
  double noise = 1e-4;

  Recording& add(double seconds, double level) {
    const int64_t count = std::llround(seconds * kSampleRate);
    for (int64_t i = 0; i < count; ++i) {
      const double t = static_cast<double>(samples.size()) / kSampleRate;
      const double envelope = 0.55 + 0.45 * std::sin(2 * std::numbers::pi * 4 * t);
      const double breath = noise * 2 * (uniform_open(7, samples.size(), 0) - 0.5);
      samples.push_back(static_cast<float>(level * envelope * std::sin(2 * std::numbers::pi * 300 * t) + breath));
    }
    return *this;
  }
};

double seconds(int64_t samples) { return static_cast<double>(samples) / kSampleRate; }

void expect_sound(const std::vector<SoundWindow>& windows, int64_t length, int64_t samples_max) {
  int64_t at = 0;
  for (const SoundWindow& window : windows) {
    EXPECT_GE(window.begin, at);
    EXPECT_GT(window.end, window.begin);
    EXPECT_LE(window.end - window.begin, samples_max);
    at = window.end;
  }
  EXPECT_LE(at, length);
}

TEST(SoundWindows, CutsAtPausesAndKeepsAMarginOfSilence) {
  Recording recording;
  recording.add(1, 0).add(2, 0.3).add(1.5, 0).add(1, 0.2).add(0.3, 0).add(1, 0.2).add(2, 0);
  const auto windows = sound_windows(recording.samples, {});
  expect_sound(windows, std::ssize(recording.samples), 480'000);
  ASSERT_EQ(windows.size(), 2u);  // 0.3 s is no pause
  EXPECT_NEAR(seconds(windows[0].begin), 0.8, 0.05);
  EXPECT_NEAR(seconds(windows[0].end), 3.2, 0.05);
  EXPECT_NEAR(seconds(windows[1].begin), 4.3, 0.05);
  EXPECT_NEAR(seconds(windows[1].end), 7.0, 0.05);
  EXPECT_TRUE(windows[0].after_pause && windows[1].after_pause);
  EXPECT_EQ(sound_windows(recording.samples, {.pause_seconds = 2}).size(), 1u);
  EXPECT_EQ(sound_windows(recording.samples, {.pause_seconds = 0.2}).size(), 3u);
}

TEST(SoundWindows, AFullWindowEndsWhereItIsQuiet) {
  Recording recording;
  recording.add(9, 0.3).add(0.2, 0).add(9, 0.3).add(0.2, 0).add(3, 0.3);
  const WindowOptions options{.samples_max = 10 * kSampleRate};
  const auto windows = sound_windows(recording.samples, options);
  expect_sound(windows, std::ssize(recording.samples), options.samples_max);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_NEAR(seconds(windows[0].end), 9.1, 0.05);
  EXPECT_NEAR(seconds(windows[1].end), 18.3, 0.05);
  EXPECT_FALSE(windows[1].after_pause || windows[2].after_pause);
  EXPECT_EQ(windows[0].end, windows[1].begin);  // nothing between them is left out
}

TEST(SoundWindows, SpeechWithoutAnyPauseIsCutInItsSecondHalf) {
  Recording recording;
  recording.add(100, 0.3);
  const WindowOptions options{.samples_max = 8 * kSampleRate};
  const auto windows = sound_windows(recording.samples, options);
  expect_sound(windows, std::ssize(recording.samples), options.samples_max);
  ASSERT_GE(windows.size(), 13u);
  EXPECT_EQ(windows.front().begin, 0);
  EXPECT_EQ(windows.back().end, std::ssize(recording.samples));
  for (size_t i = 1; i < windows.size(); ++i) {
    EXPECT_EQ(windows[i].begin, windows[i - 1].end);
    EXPECT_GE(windows[i - 1].end - windows[i - 1].begin, 4 * kSampleRate);
  }
}

TEST(SoundWindows, SilenceAndClicksAreNothing) {
  EXPECT_TRUE(sound_windows({}, {}).empty());
  EXPECT_TRUE(sound_windows(std::vector<float>(50'000), {}).empty());
  Recording quiet;
  quiet.add(5, 5e-4);
  EXPECT_TRUE(sound_windows(quiet.samples, {}).empty());
  Recording click;
  click.add(3, 0).add(0.01, 0.5).add(3, 0);
  EXPECT_TRUE(sound_windows(click.samples, {}).empty());
}

// A quiet speaker after a loud one, a noisy room: nothing that is spoken gets lost.
TEST(SoundWindows, LevelsAreLocal) {
  Recording recording;
  recording.add(30, 0.8).add(2, 0).add(40, 0.02).add(1, 0);
  auto windows = sound_windows(recording.samples, {});
  expect_sound(windows, std::ssize(recording.samples), 480'000);
  double heard = 0;
  for (const SoundWindow& window : windows) heard += seconds(window.end - window.begin);
  EXPECT_GE(heard, 70);

  Recording noisy;
  noisy.noise = 0.2;
  noisy.add(5, 0).add(5, 0.2).add(5, 0);
  windows = sound_windows(noisy.samples, {});
  ASSERT_FALSE(windows.empty());
  EXPECT_LE(seconds(windows.front().begin), 5);
  EXPECT_GE(seconds(windows.back().end), 10);
}

TEST(SoundWindows, ShortRecordingsAreOneWindow) {
  Recording recording;
  recording.add(0.3, 0.3);
  const auto windows = sound_windows(recording.samples, {});
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].begin, 0);
  EXPECT_EQ(windows[0].end, std::ssize(recording.samples));
}

}  // namespace
}  // namespace lapidary
