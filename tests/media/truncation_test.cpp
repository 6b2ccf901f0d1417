// Sound and video files cut in many places: each prefix is an error of one line or gives something, and never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "media/audio_file.h"
#include "media/test_files.h"
#include "media/video_file.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Opening a container costs about a millisecond: every byte of the first ones, where the headers are, then some.
constexpr size_t kEveryByteUntil = 64;
constexpr size_t kFurtherCuts = 60;

template <class Decode>
void cut_everywhere(const std::filesystem::path& path, Decode decode) {
  const Bytes whole = read_bytes(path);
  for (size_t size = 0; size < whole.size(); size += size < kEveryByteUntil ? 1 : whole.size() / kFurtherCuts + 1) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto result = decode(cut);
    if (result) continue;
    EXPECT_THAT(result.error().message, HasSubstr("cut: ")) << path;
    EXPECT_THAT(result.error().message, Not(HasSubstr("\n"))) << path;
  }
}

TEST(Truncation, Sounds) {
  for (const auto& path : files_of(media_data() / "sounds")) {
    cut_everywhere(path, [](const Bytes& cut) { return decode_audio(cut, "cut"); });
  }
}

TEST(Truncation, Clips) {
  VideoOptions options;
  options.num_frames = 2;
  for (const auto& path : files_of(media_data() / "clips")) {
    cut_everywhere(path, [&](const Bytes& cut) { return decode_video(cut, "cut", options); });
  }
}

}  // namespace
}  // namespace lapidary
