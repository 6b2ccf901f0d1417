#include "media/video_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "media/test_files.h"

namespace lapidary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

VideoClip decode(const std::string& name, const VideoOptions& options = {}) {
  const auto clip = decode_video(read_bytes(media_data() / "clips" / name), name, options);
  EXPECT_TRUE(clip) << clip.error().message;
  return clip ? *clip : VideoClip{};
}

TEST(SampledFrames, TheReferenceRule) {
  std::vector<int64_t> all(32);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(sampled_frames(32, 30, {}), all);
  EXPECT_THAT(sampled_frames(300, 30, {}),
              ElementsAre(0, 9, 18, 28, 37, 46, 56, 65, 75, 84, 93, 103, 112, 121, 131, 140, 150, 159, 168, 178, 187,
                          196, 206, 215, 225, 234, 243, 253, 262, 271, 281, 290));
  const auto of_900 = sampled_frames(900, 30, {});
  EXPECT_THAT(std::vector<int64_t>(of_900.begin(), of_900.begin() + 6), ElementsAre(0, 28, 56, 84, 112, 140));
  EXPECT_THAT(std::vector<int64_t>(of_900.end() - 3, of_900.end()), ElementsAre(815, 843, 871));
  const auto of_1500 = sampled_frames(1500, 25, {});
  EXPECT_THAT(std::vector<int64_t>(of_1500.begin(), of_1500.begin() + 10),
              ElementsAre(0, 46, 93, 140, 187, 234, 281, 328, 375, 421));
  EXPECT_EQ(of_1500.back(), 1453);
}

TEST(SampledFrames, ShortClipsAndRates) {
  EXPECT_THAT(sampled_frames(3, 30, {}), ElementsAre(0, 1, 2));
  EXPECT_THAT(sampled_frames(1, 30, {}), ElementsAre(0));
  VideoOptions options;
  options.num_frames = 2;
  EXPECT_THAT(sampled_frames(9, 30, options), ElementsAre(0, 4));
  options.fps = 1.0;  // overrides the number of frames
  EXPECT_THAT(sampled_frames(100, 25, options), ElementsAre(0, 25, 50, 75));
  EXPECT_THAT(sampled_frames(110, 25, options), ElementsAre(0, 27, 55, 82));  // 4.4 seconds
  options.fps = 0.001;
  EXPECT_THAT(sampled_frames(100, 25, options), ElementsAre(0));
  options.fps = 1e30;
  EXPECT_EQ(sampled_frames(100, 25, options).size(), 100u);
  EXPECT_EQ(sampled_frames(1'000'000'000'000, 25, options).size(), 512u);
}

// The files show on frame i the grey 40 + 5 i, with a white upper left quarter; lossy codecs may err by 3 of 255.
constexpr double kTolerance = 3.5 / 255.0;

float centre_of_patch(const MediaInput& frame, int32_t x, int32_t y) {
  for (int32_t patch = 0; patch < frame.rows; ++patch) {
    if (frame.positions[2 * patch] == x && frame.positions[2 * patch + 1] == y) {
      return frame.values[static_cast<size_t>(patch) * frame.cols + (24 * 48 + 24) * 3];
    }
  }
  ADD_FAILURE() << "no patch at " << x << ", " << y;
  return 0;
}

void expect_right_frames(const VideoClip& clip, const std::string& name) {
  ASSERT_EQ(clip.frames.size(), clip.frame_indices.size());
  for (size_t i = 0; i < clip.frames.size(); ++i) {
    const MediaInput& frame = clip.frames[i];
    const auto index = static_cast<double>(clip.frame_indices[i]);
    EXPECT_EQ(frame.kind, MediaKind::kVideo);
    EXPECT_DOUBLE_EQ(frame.seconds, index / 10.0) << name;
    EXPECT_NEAR(centre_of_patch(frame, 7, 5), (40 + 5 * index) / 255.0, kTolerance) << name << " frame " << index;
    EXPECT_NEAR(centre_of_patch(frame, 0, 0), 1.0, kTolerance) << name << " frame " << index;
  }
}

TEST(VideoFile, EveryContainerGivesTheSampledFrames) {
  for (const std::string name :
       {"h264.mp4", "with_sound.mp4", "vp8.webm", "mpeg4.avi", "full_range.mkv", "stream.ts"}) {
    const VideoClip clip = decode(name);
    EXPECT_EQ(clip.source_frames, 40) << name;
    EXPECT_NEAR(clip.fps, 10.0, 1e-9) << name;
    EXPECT_EQ(clip.source_width, 64) << name;
    EXPECT_EQ(clip.source_height, 48) << name;
    EXPECT_EQ(clip.frame_indices, sampled_frames(40, 10, {})) << name;
    ASSERT_EQ(clip.frames.size(), 32u) << name;
    EXPECT_EQ(clip.frames[0].rows, 9 * 7) << name;
    EXPECT_EQ(clip.frames[0].cols, 6912) << name;
    expect_right_frames(clip, name);
  }
}

TEST(VideoFile, ShortClipsGiveAllTheirFrames) {
  const VideoClip clip = decode("three_frames.mkv");
  EXPECT_THAT(clip.frame_indices, ElementsAre(0, 1, 2));
  // Lossless RGB: exact.
  EXPECT_EQ(centre_of_patch(clip.frames[2], 7, 5), 50.0f / 255.0f);
  EXPECT_EQ(centre_of_patch(clip.frames[2], 0, 0), 1.0f);
}

TEST(VideoFile, WithoutARateOfItsOwnAClipHas24FramesASecond) {
  std::vector<std::byte> bytes = read_bytes(media_data() / "clips" / "three_frames.mkv");
  // DefaultDuration, four bytes, becomes a Void element of the same length.
  const std::array<std::byte, 4> duration = {std::byte{0x23}, std::byte{0xE3}, std::byte{0x83}, std::byte{0x84}};
  const auto at = std::search(bytes.begin(), bytes.end(), duration.begin(), duration.end());
  ASSERT_NE(at, bytes.end());
  std::fill_n(at, 8, std::byte{0});
  at[0] = std::byte{0xEC};
  at[1] = std::byte{0x86};
  const auto clip = decode_video(bytes, "clip", {});
  ASSERT_TRUE(clip) << clip.error().message;
  EXPECT_EQ(clip->fps, 24.0);
  ASSERT_EQ(clip->frames.size(), 3u);
  EXPECT_DOUBLE_EQ(clip->frames[2].seconds, 2 / 24.0);
}

TEST(VideoFile, AnotherRateIsHonoured) {
  VideoOptions options;
  options.fps = 2.0;
  options.max_soft_tokens = 140;
  const VideoClip clip = decode("h264.mp4", options);
  EXPECT_THAT(clip.frame_indices, ElementsAre(0, 5, 10, 15, 20, 25, 30, 35));
  EXPECT_EQ(clip.frames[0].rows, 13 * 10);
  EXPECT_DOUBLE_EQ(clip.frames[3].seconds, 1.5);
  EXPECT_DOUBLE_EQ(clip.seconds(), 4.0);
}

// The number that many.* spell on a frame in black and white blocks of 8x24 pixels.
int64_t spelled_number(const MediaInput& frame) {
  int64_t number = 0;
  for (int bit = 0; bit < 9; ++bit) {
    // 64x48 pixels have become 432x336.
    const int32_t x = (bit % 8 * 8 + 4) * 432 / 64, y = bit < 8 ? 84 : 252;
    const int32_t patch = y / 48 * 9 + x / 48;
    const float value = frame.values[static_cast<size_t>(patch) * frame.cols + (y % 48 * 48 + x % 48) * 3];
    if (value > 0.5f) number |= int64_t{1} << bit;
  }
  return number;
}

// Few frames of a long clip are reached through key frames, many by decoding all; both must find the same ones.
TEST(VideoFile, FramesAreFoundByNumberHoweverFarApart) {
  for (const std::string name : {"many.mp4", "many_open.mkv", "many.webm"}) {
    for (const int32_t count : {1, 2, 3, 5, 7, 32}) {
      VideoOptions options;
      options.num_frames = count;
      const VideoClip clip = decode(name, options);
      EXPECT_EQ(clip.source_frames, 300) << name;
      ASSERT_EQ(clip.frame_indices, sampled_frames(300, 30, options)) << name;
      for (size_t i = 0; i < clip.frames.size(); ++i) {
        ASSERT_EQ(spelled_number(clip.frames[i]), clip.frame_indices[i]) << name << ", " << count << " frames";
      }
    }
  }
}

// The white quarter follows the picture as it is turned, here counter-clockwise, by what the container says.
TEST(VideoFile, TheContainersRotationIsApplied) {
  const struct {
    const char* name;
    int32_t width, height, white_x, white_y;
  } cases[] = {{"turned90.mp4", 48, 64, 0, 8}, {"turned180.mp4", 64, 48, 8, 6}, {"turned270.mp4", 48, 64, 6, 0}};
  VideoOptions options;
  options.num_frames = 1;
  for (const auto& c : cases) {
    const VideoClip clip = decode(c.name, options);
    EXPECT_EQ(clip.source_width, c.width) << c.name;
    EXPECT_EQ(clip.source_height, c.height) << c.name;
    const int32_t right = c.width < c.height ? 6 : 8, bottom = c.width < c.height ? 8 : 6;
    for (const int32_t x : {0, right}) {
      for (const int32_t y : {0, bottom}) {
        const bool white = x == c.white_x && y == c.white_y;
        EXPECT_NEAR(centre_of_patch(clip.frames[0], x, y), white ? 1.0 : 40 / 255.0, kTolerance)
            << c.name << " " << x << "," << y;
      }
    }
  }
}

TEST(VideoFile, DamageInTheMiddleKeepsTheRest) {
  Bytes bytes = read_bytes(media_data() / "clips/full_range.mkv");
  for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 200; ++i) bytes[i] = std::byte{0};
  const auto clip = decode_video(bytes, "damaged.mkv", {});
  if (clip) {
    EXPECT_GE(clip->frames.size(), 10u);
  } else {
    EXPECT_THAT(clip.error().message, HasSubstr("damaged.mkv"));
  }
}

TEST(VideoFile, ErrorsSayWhatWasExpected) {
  const auto error = [](const Bytes& bytes, const VideoOptions& options) {
    const auto clip = decode_video(bytes, "clip", options);
    EXPECT_FALSE(clip);
    return clip ? Error{} : clip.error();
  };
  const Bytes good = read_bytes(media_data() / "clips/h264.mp4");
  EXPECT_THAT(error({}, {}).message, HasSubstr("clip: expected sound or video, found an empty file"));
  EXPECT_THAT(error(bytes_of("no video here"), {}).message,
              HasSubstr("clip: expected sound or video in a known container"));
  EXPECT_THAT(error(read_bytes(media_data() / "sounds/stereo.mp3"), {}).message,
              HasSubstr("clip: expected a file with moving pictures"));
  VideoOptions options;
  options.num_frames = 0;
  EXPECT_THAT(error(good, options).message, HasSubstr("expected 1 to 512, found 0"));
  options.num_frames = 32;
  options.fps = -1.0;
  EXPECT_THAT(error(good, options).message, HasSubstr("found -1"));
  options.fps.reset();
  options.max_soft_tokens = 100;
  EXPECT_THAT(error(good, options).message, HasSubstr("expected 70, 140, 280, 560 or 1120, found 100"));
}

}  // namespace
}  // namespace lapidary
