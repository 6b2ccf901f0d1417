#include "prompt/transcription.h"

#include <gtest/gtest.h>

#include <cmath>

#include "prompt/subtitles.h"

namespace lapidary {
namespace {

// Bursts of one second of tone, each followed by so many seconds of silence.
Waveform bursts(const std::vector<double>& silences) {
  Waveform wave;
  wave.source_rate = kSampleRate;
  for (const double silence : silences) {
    for (int i = 0; i < kSampleRate; ++i) wave.samples.push_back(0.5f * std::sin(0.3f * static_cast<float>(i)));
    wave.samples.resize(wave.samples.size() + static_cast<size_t>(silence * kSampleRate), 0.0f);
  }
  return wave;
}

Transcription transcription(const std::vector<double>& silences, double window_seconds = 30) {
  TranscriptionOptions options;
  options.window_seconds = window_seconds;
  return Transcription(bursts(silences), ProcessorOptions{}, options);
}

TEST(Transcription, WindowsAreTheBurstsBetweenPauses) {
  const Transcription recording = transcription({1, 1, 0.3, 1});
  ASSERT_EQ(recording.size(), 3);
  EXPECT_DOUBLE_EQ(recording.seconds(), 7.3);
  EXPECT_FALSE(recording.cut());
  for (const TranscribedWindow& window : recording.windows()) {
    EXPECT_TRUE(window.after_pause);
    EXPECT_FALSE(window.heard);
  }
  EXPECT_NEAR(recording.windows()[1].begin, 1.8, 0.02);
  EXPECT_NEAR(recording.windows()[2].end, 6.5, 0.02);
  EXPECT_EQ(transcription({}).size(), 0);
}

TEST(Transcription, TextGrowsFromTheBeginningInWhateverOrderWindowsAreHeard) {
  Transcription recording = transcription({1, 1, 1, 1});
  ASSERT_EQ(recording.size(), 4);
  EXPECT_EQ(recording.advance(), "");
  recording.take(2, "third\n");
  EXPECT_EQ(recording.advance(), "");
  recording.take(0, "  first ");
  EXPECT_EQ(recording.advance(), "first");
  EXPECT_EQ(recording.advance(), "");
  recording.take(1, " \n ");  // nothing was said
  EXPECT_EQ(recording.advance(), "\nthird");
  recording.take(3, "fourth");
  EXPECT_EQ(recording.advance(), "\nfourth");
  EXPECT_EQ(recording.text(), "first\nthird\nfourth");
  const std::string srt = subtitles(recording.windows(), SubtitleFormat::kSrt);
  EXPECT_EQ(srt.rfind("1\n00:00:00,000 --> ", 0), 0u) << srt;
  EXPECT_NE(srt.find("\n\n2\n00:00:03,"), std::string::npos) << srt;
  EXPECT_NE(srt.find("\nfourth\n\n"), std::string::npos);
  EXPECT_EQ(subtitles({}, SubtitleFormat::kVtt), "WEBVTT\n\n");
}

TEST(Transcription, AFullWindowGoesOnInTheSameLine) {
  Transcription recording = transcription({0.3, 0.3, 0.3, 0.3}, 2);
  ASSERT_GE(recording.size(), 2);
  EXPECT_FALSE(recording.windows()[1].after_pause);
  recording.take(0, "one");
  recording.take(1, "two");
  EXPECT_EQ(recording.advance(), "one two");
}

TEST(Transcription, PromptsSayWhatIsWanted) {
  EXPECT_EQ(transcription_prompt("", "", false), TranscriptionOptions{}.prompt);
  EXPECT_EQ(transcription_prompt("French", "", false), "Transcribe the recording. The language spoken is French.");
  EXPECT_EQ(transcription_prompt("", "Bern, Thun", true),
            "Translate the speech of the recording into English. Context, to spell names by: Bern, Thun");
}

}  // namespace
}  // namespace lapidary
