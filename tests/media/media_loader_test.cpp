#include "media/media_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "media/test_files.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

TEST(MediaLoader, APicture) {
  const auto loaded = load_image(media_data() / "pictures/orientation6.jpg", ImageOptions{});
  ASSERT_TRUE(loaded) << loaded.error().message;
  ASSERT_EQ(loaded->inputs.size(), 1u);
  const MediaSummary& summary = loaded->summary;
  EXPECT_EQ(summary.source_width, 18);
  EXPECT_EQ(summary.source_height, 29);
  EXPECT_EQ(summary.grid_width * summary.grid_height, summary.soft_tokens);
  EXPECT_EQ(summary.grid_width, 13);
  EXPECT_EQ(summary.grid_height, 21);
  EXPECT_EQ(loaded->inputs[0].rows, summary.soft_tokens);
  EXPECT_THAT(summary.name, HasSubstr("orientation6.jpg"));
}

TEST(MediaLoader, APictureAndFramesForATower) {
  const auto loaded = load_image(media_data() / "pictures/orientation6.jpg", ImageOptions{.tower_patches = true});
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->summary.grid_width, 13);  // soft tokens, as without a tower
  EXPECT_EQ(loaded->summary.grid_height, 21);
  EXPECT_EQ(loaded->summary.soft_tokens, 13 * 21);
  EXPECT_EQ(loaded->inputs[0].units(), 9 * 13 * 21);
  const auto video = load_video(media_data() / "clips/with_sound.mp4", VideoOptions{.tower_patches = true});
  ASSERT_TRUE(video) << video.error().message;
  ASSERT_EQ(video->inputs.size(), 32u);  // budget 70 a frame: 9 x 7
  for (const MediaInput& frame : video->inputs) {
    EXPECT_EQ(frame.rows, 63);
    EXPECT_EQ(frame.units(), 9 * 63);
    EXPECT_EQ(frame.cols, 16 * 16 * 3);
  }
}

TEST(MediaLoader, SoundIsCutToOneClip) {
  AudioOptions options;
  options.clip_samples_max = 1000;
  const auto loaded = load_audio(media_data() / "sounds/stereo_48000.wav", options);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_TRUE(loaded->summary.cut);
  EXPECT_EQ(loaded->summary.soft_tokens, 2);
  EXPECT_EQ(loaded->summary.source_rate, 48000);
  EXPECT_EQ(loaded->summary.source_channels, 2);
  EXPECT_DOUBLE_EQ(loaded->summary.seconds, 1000 / 16000.0);
  EXPECT_EQ(loaded->inputs[0].kind, MediaKind::kAudio);
}

TEST(MediaLoader, AVideoAndItsSoundTrack) {
  const auto path = media_data() / "clips/with_sound.mp4";
  const auto video = load_video(path, VideoOptions{});
  ASSERT_TRUE(video) << video.error().message;
  EXPECT_EQ(video->inputs.size(), 32u);
  EXPECT_EQ(video->summary.soft_tokens, 32 * 63);
  EXPECT_EQ(video->summary.grid_width, 9);
  EXPECT_EQ(video->summary.grid_height, 7);
  EXPECT_EQ(video->summary.source_frames, 40);
  EXPECT_DOUBLE_EQ(video->summary.seconds, 4.0);
  const auto sound = load_audio(path, AudioOptions{});
  ASSERT_TRUE(sound) << sound.error().message;
  EXPECT_NEAR(sound->summary.seconds, 0.2, 0.05);
}

TEST(MediaLoader, TheSoundBetweenTheFramesOfAVideo) {
  const auto path = media_data() / "clips/with_sound.mp4";
  VideoOptions options;
  options.sound = AudioOptions{};
  const auto video = load_video(path, options);
  ASSERT_TRUE(video) << video.error().message;
  ASSERT_EQ(video->inputs.size(), 32u);
  ASSERT_EQ(video->sounds.size(), 32u);
  const auto whole = load_audio(path, AudioOptions{});
  ASSERT_TRUE(whole);
  // Frames 0 and 1 are at 0 and 0.1 s: 1600 samples between them, in frames of 640, the last one filled up.
  ASSERT_EQ(video->inputs[1].seconds, 0.1);
  const std::vector<float>&first = video->sounds[0].values, &all = whole->inputs[0].values;
  EXPECT_EQ(video->sounds[0].rows, 3);
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 1600, all.begin()));
  EXPECT_TRUE(std::all_of(first.begin() + 1600, first.end(), [](float sample) { return sample == 0; }));
  EXPECT_TRUE(std::equal(all.begin() + 1600, all.begin() + 3200, video->sounds[1].values.begin()));
  double seconds = 0;
  int32_t tokens = 0;
  for (const MediaInput& sound : video->sounds) {
    seconds += sound.seconds;
    tokens += sound.rows;
  }
  EXPECT_NEAR(seconds, whole->summary.seconds, 1e-9);
  EXPECT_EQ(video->sounds.back().rows, 0);  // the track stops long before
  EXPECT_EQ(video->summary.soft_tokens, 32 * 63 + tokens);

  options.sound->mel.emplace();
  const auto mel = load_video(path, options);
  ASSERT_TRUE(mel) << mel.error().message;
  EXPECT_EQ(mel->sounds[0].value_rows, 9);
  EXPECT_EQ(mel->sounds[0].rows, 3);

  const auto silent = load_video(media_data() / "clips/h264.mp4", options);
  ASSERT_TRUE(silent) << silent.error().message;
  for (const MediaInput& sound : silent->sounds) EXPECT_EQ(sound.rows, 0);
}

TEST(MediaLoader, MissingFilesAreNamed) {
  const auto loaded = load_image(std::filesystem::path("no/such/picture.png"), ImageOptions{});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(loaded.error().message, HasSubstr("no/such/picture.png"));
  const auto folder = load_audio(media_data(), AudioOptions{});
  ASSERT_FALSE(folder);
  EXPECT_THAT(folder.error().message, HasSubstr("expected a file, found a directory"));
}

}  // namespace
}  // namespace lapidary
