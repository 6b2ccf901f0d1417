// What decoding may cost, with a clock of the test's own: it moves on by one at each look.
#include "media/decode_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>

#include "media/audio_file.h"
#include "media/image_file.h"
#include "media/media_loader.h"
#include "media/test_files.h"
#include "media/video_file.h"

namespace lapidary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Time is up at the look after so many; 0: never. looks counts them.
DecodeLimits looks_allowed(int64_t allowed, int64_t& looks) {
  DecodeLimits limits;
  limits.image_seconds = limits.video_seconds = allowed > 0 ? static_cast<double>(allowed) : 0;
  limits.clock = [&looks] { return static_cast<double>(looks++); };
  return limits;
}

using Decode = std::function<Result<void>(const Bytes&, const std::string&, const DecodeWatch&)>;

Result<void> decode_picture(const Bytes& bytes, const std::string& name, const DecodeWatch& watch) {
  auto image = decode_image(bytes, name, watch);
  return image ? Result<void>() : image.error();
}
Result<void> decode_sound(const Bytes& bytes, const std::string& name, const DecodeWatch& watch) {
  auto wave = decode_audio(bytes, name, kAudioSamplesMax, watch);
  return wave ? Result<void>() : wave.error();
}
Result<void> decode_clip(const Bytes& bytes, const std::string& name, const DecodeWatch& watch) {
  VideoOptions options;
  options.num_frames = 8;
  auto clip = decode_video(bytes, name, options, watch);
  return clip ? Result<void>() : clip.error();
}

// Lets time be up at several places of the work; it must end there, with an error that says why.
void expect_ends_whenever_time_is_up(const std::string& file, MediaKind kind, const Decode& decode) {
  const Bytes bytes = read_bytes(media_data() / file);
  constexpr int64_t kEnough = 1'000'000'000;
  int64_t looks = 0;
  {
    DecodeBudget budget(looks_allowed(kEnough, looks));
    const auto whole = decode(bytes, file, DecodeWatch(budget, kind));
    ASSERT_TRUE(whole) << file << ": " << whole.error().message;
  }
  const int64_t all = looks - 1;  // the first is the beginning
  ASSERT_GT(all, 0) << file;
  const int64_t step = std::max<int64_t>(1, all / 12);
  for (int64_t allowed = 1; allowed < all; allowed += step) {
    int64_t count = 0;
    DecodeBudget budget(looks_allowed(allowed, count));
    const auto cut = decode(bytes, file, DecodeWatch(budget, kind));
    ASSERT_FALSE(cut) << file << " after " << allowed << " of " << all << " looks";
    EXPECT_EQ(cut.error().code, ErrorCode::kExhausted);
    EXPECT_THAT(cut.error().message, AllOf(HasSubstr(file), HasSubstr("decoded within"))) << cut.error().message;
    // It ends soon: whoever is late looks a few times more on his way out.
    EXPECT_LE(count, allowed + 64) << file;
  }
}

TEST(DecodeWatch, PicturesEndWhenTimeIsUp) {
  for (const auto& path : files_of(media_data() / "pictures", ".rgb"))
    expect_ends_whenever_time_is_up("pictures/" + path.filename().string(), MediaKind::kImage, decode_picture);
}

TEST(DecodeWatch, VideosEndWhenTimeIsUp) {
  for (const char* name : {"h264.mp4", "vp8.webm", "mpeg4.avi", "stream.ts", "many.mp4", "many_open.mkv"})
    expect_ends_whenever_time_is_up(std::string("clips/") + name, MediaKind::kVideo, decode_clip);
}

TEST(DecodeWatch, SoundEndsWhenTimeIsUp) {
  for (const char* name : {"sounds/stereo_48000.wav", "clips/with_sound.mp4"})
    expect_ends_whenever_time_is_up(name, MediaKind::kAudio, decode_sound);
}

TEST(DecodeWatch, AVideoAndItsSoundHaveOneTimeTogether) {
  const Bytes bytes = read_bytes(media_data() / "clips/with_sound.mp4");
  int64_t frames_only = 0, both = 0;
  VideoOptions options;
  {
    DecodeBudget budget(looks_allowed(1'000'000'000, frames_only));
    ASSERT_TRUE(load_video(bytes, "clip", options, DecodeWatch(budget, MediaKind::kVideo)));
  }
  options.sound.emplace();
  DecodeBudget budget(looks_allowed(frames_only + 2, both));
  const auto cut = load_video(bytes, "clip", options, DecodeWatch(budget, MediaKind::kVideo));
  ASSERT_FALSE(cut);
  EXPECT_THAT(cut.error().message, HasSubstr("a video that is decoded within"));
}

TEST(DecodeWatch, WithoutBoundsNobodyLooksAtAClock) {
  int64_t looks = 0;
  DecodeBudget budget(looks_allowed(0, looks));
  EXPECT_TRUE(
      decode_picture(read_bytes(media_data() / "pictures/420.jpg"), "a", DecodeWatch(budget, MediaKind::kImage)));
  EXPECT_LE(looks, 1);
  EXPECT_FALSE(DecodeWatch().late());
  EXPECT_TRUE(DecodeWatch().take("a", "everything", {std::numeric_limits<int64_t>::max(), 1000}));
}

TEST(DecodeWatch, ProductsThatHaveNoNumberAreTooMuch) {
  DecodeLimits limits;
  limits.bytes_max = std::numeric_limits<int64_t>::max() - 1;
  DecodeBudget budget(limits);
  const DecodeWatch watch(budget, MediaKind::kVideo);
  const int64_t large = int64_t{1} << 40;
  EXPECT_FALSE(watch.take("a", "b", {large, large, large}));
  EXPECT_FALSE(watch.take("a", "b", {std::numeric_limits<int64_t>::max(), 2}));
  EXPECT_TRUE(watch.take("a", "b", {large, 0, large, large}));
  EXPECT_EQ(budget.bytes_left(), limits.bytes_max);
  EXPECT_TRUE(watch.take("a", "b", {limits.bytes_max}));
  EXPECT_FALSE(watch.take("a", "b", {1}));
  EXPECT_TRUE(watch.take("a", "b", {0, 7}));
}

TEST(DecodeWatch, AllPicturesOfARequestCountTogether) {
  const Bytes bytes = read_bytes(media_data() / "pictures/420.jpg");
  const auto image = decode_image(bytes, "picture");
  ASSERT_TRUE(image);
  DecodeLimits limits;
  limits.bytes_max = static_cast<int64_t>(image->pixels.size()) * 5 / 2;
  DecodeBudget budget(limits);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(decode_picture(bytes, "first", DecodeWatch(budget, MediaKind::kImage)));
  const auto third = decode_picture(bytes, "messages[0].content[3]", DecodeWatch(budget, MediaKind::kImage));
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(third.error().message,
              AllOf(HasSubstr("messages[0].content[3]"), HasSubstr(std::to_string(limits.bytes_max)),
                    HasSubstr(std::to_string(image->pixels.size())),
                    HasSubstr(std::to_string(image->width) + "x" + std::to_string(image->height))));
}

TEST(DecodeWatch, EveryPictureFormatCountsBeforeItsMemoryIsTaken) {
  for (const auto& path : files_of(media_data() / "pictures", ".rgb")) {
    const Bytes bytes = read_bytes(path);
    const auto image = decode_image(bytes, "whole");
    ASSERT_TRUE(image);
    DecodeLimits limits;
    limits.bytes_max = static_cast<int64_t>(image->pixels.size());
    DecodeBudget exact(limits);
    EXPECT_TRUE(decode_picture(bytes, path.string(), DecodeWatch(exact, MediaKind::kImage))) << path;
    EXPECT_EQ(exact.bytes_left(), 0) << path;
    --limits.bytes_max;
    DecodeBudget less(limits);
    EXPECT_FALSE(decode_picture(bytes, path.string(), DecodeWatch(less, MediaKind::kImage))) << path;
    EXPECT_EQ(less.bytes_left(), limits.bytes_max) << path;
  }
}

TEST(DecodeWatch, FramesOfAClipAreCountedFromItsHeader) {
  const Bytes bytes = read_bytes(media_data() / "clips/h264.mp4");
  const auto clip = decode_video(bytes, "clip", {});
  ASSERT_TRUE(clip);
  const int64_t frame = int64_t{clip->source_width} * clip->source_height * 3 / 2;  // yuv420p
  const int64_t all = frame * std::ssize(clip->frames);
  DecodeLimits limits;
  limits.bytes_max = all;
  DecodeBudget exact(limits);
  EXPECT_TRUE(decode_clip(bytes, "clip", DecodeWatch(exact, MediaKind::kVideo)));
  limits.bytes_max = frame;
  DecodeBudget one(limits);
  const auto refused = decode_video(bytes, "clip", {}, DecodeWatch(one, MediaKind::kVideo));
  ASSERT_FALSE(refused);
  EXPECT_EQ(one.bytes_left(), frame);  // nothing was decoded
  EXPECT_THAT(refused.error().message,
              HasSubstr(std::to_string(clip->frames.size()) + " frames of " + std::to_string(clip->source_width)));
}

TEST(DecodeWatch, SamplesAreCountedFromTheHeaderAndAsTheyCome) {
  const Bytes bytes = read_bytes(media_data() / "sounds/stereo_48000.wav");
  const auto wave = decode_audio(bytes, "sound");
  ASSERT_TRUE(wave);
  DecodeLimits limits;
  limits.bytes_max = std::ssize(wave->samples) * 4 / 2;
  DecodeBudget half(limits);
  const auto refused = decode_sound(bytes, "sound", DecodeWatch(half, MediaKind::kAudio));
  ASSERT_FALSE(refused);
  EXPECT_EQ(half.bytes_left(), limits.bytes_max);
  EXPECT_THAT(refused.error().message, HasSubstr("s of sound of"));
  // A part of it is asked for, and only that counts.
  DecodeBudget part(limits);
  EXPECT_TRUE(decode_audio(bytes, "sound", std::ssize(wave->samples) / 8, DecodeWatch(part, MediaKind::kAudio)));
}

}  // namespace
}  // namespace lapidary
