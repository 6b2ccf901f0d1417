#include "prompt/subtitles.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(Subtitles, Times) {
  EXPECT_EQ(subtitle_time(0, SubtitleFormat::kSrt), "00:00:00,000");
  EXPECT_EQ(subtitle_time(-1, SubtitleFormat::kVtt), "00:00:00.000");
  EXPECT_EQ(subtitle_time(3723.0045, SubtitleFormat::kVtt), "01:02:03.005");
  EXPECT_EQ(subtitle_time(59.9996, SubtitleFormat::kSrt), "00:01:00,000");
  EXPECT_EQ(subtitle_time(360000, SubtitleFormat::kSrt), "100:00:00,000");
}

TEST(Subtitles, Cues) {
  EXPECT_EQ(subtitle_cue(3, 1, 2.5, "stop the music", SubtitleFormat::kSrt),
            "3\n00:00:01,000 --> 00:00:02,500\nstop the music\n\n");
  EXPECT_EQ(subtitle_cue(1, 0, 1, "two\r\nlines", SubtitleFormat::kVtt),
            "1\n00:00:00.000 --> 00:00:01.000\ntwo\nlines\n\n");
  EXPECT_EQ(subtitle_header(SubtitleFormat::kVtt), "WEBVTT\n\n");
  EXPECT_EQ(subtitle_header(SubtitleFormat::kSrt), "");
}

// What a model says must not become another cue or markup.
TEST(Subtitles, TextStaysText) {
  const auto text = [](std::string_view said, SubtitleFormat format) {
    const std::string cue = subtitle_cue(1, 0, 1, said, format);
    return cue.substr(cue.find('\n', 2) + 1);
  };
  EXPECT_EQ(text("a\n\n \nb\n", SubtitleFormat::kSrt), "a\nb\n\n");
  EXPECT_EQ(text("1 --> 2 ---> 3", SubtitleFormat::kSrt), "1 -> 2 -> 3\n\n");
  EXPECT_EQ(text("1 --> <b>2 & 3", SubtitleFormat::kVtt), "1 --&gt; &lt;b&gt;2 &amp; 3\n\n");
  EXPECT_EQ(text("", SubtitleFormat::kVtt), "\n\n");
}

}  // namespace
}  // namespace lapidary
