#include "media/audio_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <numbers>

#include "media/test_files.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

Waveform decode(const std::string& name, int64_t samples_max = kAudioSamplesMax) {
  const auto wave = decode_audio(read_bytes(media_data() / name), name, samples_max);
  EXPECT_TRUE(wave) << wave.error().message;
  return wave ? *wave : Waveform{};
}

// A WAV file of 16-bit or 32-bit float samples; claimed_bytes is what its header says of them.
Bytes wav(int32_t rate, int channels, bool floats, const void* data, size_t data_bytes, uint32_t claimed_bytes) {
  std::string text;
  const auto put = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  };
  const int width = floats ? 4 : 2;
  text += "RIFF";
  put(36 + claimed_bytes, 4);
  text += "WAVEfmt ";
  put(16, 4);
  put(floats ? 3 : 1, 2);
  put(channels, 2);
  put(rate, 4);
  put(rate * channels * width, 4);
  put(channels * width, 2);
  put(8 * width, 2);
  text += "data";
  put(claimed_bytes, 4);
  text.append(static_cast<const char*>(data), data_bytes);
  return bytes_of(text);
}

Bytes wav16(int32_t rate, int channels, const std::vector<int16_t>& samples) {
  const auto bytes = static_cast<uint32_t>(samples.size() * 2);
  return wav(rate, channels, false, samples.data(), bytes, bytes);
}

TEST(AudioFile, IntegersAreDividedByTheirFullScale) {
  // Sample i of the files is (i - 160) / 160, rounded to the format by what wrote it.
  const struct {
    const char* codec;
    double step;
  } formats[] = {{"u8", 0x1p-7},     {"s16le", 0x1p-15}, {"s24le", 0x1p-23},
                 {"s32le", 0x1p-24}, {"f32le", 0x1p-24}, {"f64le", 0x1p-24}};
  for (const auto& format : formats) {
    const Waveform wave = decode(std::string("sounds/ramp_pcm_") + format.codec + ".wav");
    ASSERT_EQ(wave.samples.size(), 320u);
    EXPECT_EQ(wave.source_rate, 16000);
    EXPECT_EQ(wave.source_channels, 1);
    EXPECT_FALSE(wave.cut);
    EXPECT_EQ(wave.samples[0], -1.0f) << format.codec;
    EXPECT_EQ(wave.samples[160], 0.0f) << format.codec;
    for (int i = 0; i < 320; ++i)
      EXPECT_NEAR(wave.samples[i], (i - 160) / 160.0, format.step) << format.codec << " " << i;
  }
}

TEST(AudioFile, SixteenBitsMonoPassUntouched) {
  std::vector<int16_t> samples;
  for (int value = -32768; value <= 32767; value += 7) samples.push_back(static_cast<int16_t>(value));
  const auto wave = decode_audio(wav16(16000, 1, samples), "all.wav");
  ASSERT_TRUE(wave) << wave.error().message;
  ASSERT_EQ(wave->samples.size(), samples.size());
  for (size_t i = 0; i < samples.size(); ++i) ASSERT_EQ(wave->samples[i], static_cast<float>(samples[i]) / 32768.0f);
}

TEST(AudioFile, ChannelsAreAveragedWithoutGain) {
  std::vector<int16_t> stereo;
  for (int i = 0; i < 1000; ++i) {
    stereo.push_back(static_cast<int16_t>(20000 - 13 * i));
    stereo.push_back(static_cast<int16_t>(7 * i));
  }
  const auto wave = decode_audio(wav16(16000, 2, stereo), "stereo.wav");
  ASSERT_TRUE(wave) << wave.error().message;
  EXPECT_EQ(wave->source_channels, 2);
  ASSERT_EQ(wave->samples.size(), 1000u);
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(wave->samples[i], static_cast<float>((20000 - 13 * i + 7 * i) / 2.0 / 32768.0));
  // Six channels of 500 Hz and amplitudes 0.1 ... 0.6: their mean has 0.35.
  const Waveform six = decode("sounds/six_channels.wav");
  EXPECT_EQ(six.source_channels, 6);
  EXPECT_NEAR(*std::max_element(six.samples.begin(), six.samples.end()), 0.35, 2e-3);
}

// Amplitude of a tone in the middle half of the samples, a whole number of milliseconds.
double amplitude(const std::vector<float>& samples, double hertz) {
  const size_t first = samples.size() / 4 / 16 * 16, count = samples.size() / 2 / 16 * 16;
  std::complex<double> sum = 0;
  for (size_t n = first; n < first + count; ++n) {
    sum += static_cast<double>(samples[n]) *
           std::polar(1.0, -2.0 * std::numbers::pi * hertz * static_cast<double>(n) / kSampleRate);
  }
  return 2.0 * std::abs(sum) / static_cast<double>(count);
}

// 1 kHz of 0.5 on one side and 3 kHz of 0.25 on the other: the mean has halves of both.
TEST(AudioFile, EveryContainerHoldsTheSameTones) {
  const struct {
    const char* name;
    double tolerance;  // of an amplitude: 0 for what is stored exactly, and what a lossy codec of 64 to 96 kbit/s moves
    int64_t extra;     // samples at 16 kHz a codec may add for its blocks
  } files[] = {{"sounds/stereo_44100.wav", 1e-4, 0}, {"sounds/stereo_48000.wav", 1e-4, 0},
               {"sounds/stereo.flac", 1e-4, 0},      {"sounds/stereo.mp3", 0.02, 900},
               {"sounds/stereo.ogg", 0.02, 800},     {"sounds/stereo.opus", 0.02, 800},
               {"sounds/stereo.m4a", 0.02, 800},     {"clips/with_sound.mp4", 0.02, 800}};
  for (const auto& file : files) {
    const Waveform wave = decode(file.name);
    EXPECT_EQ(wave.source_channels, 2) << file.name;
    EXPECT_NEAR(amplitude(wave.samples, 1000), 0.25, file.tolerance) << file.name;
    EXPECT_NEAR(amplitude(wave.samples, 3000), 0.125, file.tolerance) << file.name;
    EXPECT_LT(amplitude(wave.samples, 2000), file.tolerance) << file.name;
    EXPECT_GE(std::ssize(wave.samples), 3200) << file.name;
    EXPECT_LE(std::ssize(wave.samples), 3200 + file.extra) << file.name;
  }
}

TEST(AudioFile, LongSoundIsCutAndSaysSo) {
  const std::vector<int16_t> samples(1601, 100);
  for (const int64_t limit : {1, 1600, 1601, 5000}) {
    const auto wave = decode_audio(wav16(16000, 1, samples), "long.wav", limit);
    ASSERT_TRUE(wave);
    EXPECT_EQ(std::ssize(wave->samples), std::min<int64_t>(limit, 1601));
    EXPECT_EQ(wave->cut, limit < 1601) << limit;
  }
  const Waveform resampled = decode("sounds/stereo_44100.wav", 1000);
  EXPECT_TRUE(resampled.cut);
  const Waveform whole = decode("sounds/stereo_44100.wav");
  ASSERT_EQ(resampled.samples.size(), 1000u);
  EXPECT_TRUE(std::equal(resampled.samples.begin(), resampled.samples.end(), whole.samples.begin()));
}

TEST(AudioFile, AHeaderThatLiesTakesNoMemory) {
  const std::vector<int16_t> samples(500, 3);
  // 2^32 - 100 bytes would be 37 hours.
  const auto wave = decode_audio(wav(16000, 1, false, samples.data(), 1000, 0xffffff9c), "lying.wav");
  ASSERT_TRUE(wave) << wave.error().message;
  EXPECT_EQ(wave->samples.size(), 500u);
  EXPECT_LT(wave->samples.capacity(), 1u << 20);
}

TEST(AudioFile, SilenceIsExactlyZero) {
  const std::vector<int16_t> silence(44100, 0);
  for (const int32_t rate : {8000, 16000, 44100, 48000}) {
    const auto wave = decode_audio(wav16(rate, 2, silence), "silence.wav");
    ASSERT_TRUE(wave);
    EXPECT_TRUE(std::all_of(wave->samples.begin(), wave->samples.end(), [](float v) { return v == 0.0f; })) << rate;
  }
}

TEST(AudioFile, WhatIsNotFiniteIsRefused) {
  std::vector<float> samples(200, 0.25f);
  samples[100] = std::numeric_limits<float>::quiet_NaN();
  const auto wave = decode_audio(wav(16000, 1, true, samples.data(), 800, 800), "nan.wav");
  ASSERT_FALSE(wave);
  EXPECT_EQ(wave.error().code, ErrorCode::kCorruptFile);
  EXPECT_THAT(wave.error().message, HasSubstr("nan.wav: a sample near"));
}

TEST(AudioFile, WhatIsNoSoundIsAnError) {
  const auto error = [](std::string_view content) {
    const auto wave = decode_audio(bytes_of(content), "x");
    EXPECT_FALSE(wave);
    return wave ? Error{} : wave.error();
  };
  EXPECT_EQ(error("").code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(error("").message, HasSubstr("found an empty file"));
  EXPECT_THAT(error("just some text that is no sound at all").message,
              HasSubstr("x: expected sound or video in a known container"));
  EXPECT_THAT(error("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n").message, HasSubstr("x: expected sound or video"));
  const auto silent_clip = decode_audio(read_bytes(media_data() / "clips/h264.mp4"), "mute.mp4");
  ASSERT_FALSE(silent_clip);
  EXPECT_EQ(silent_clip.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(silent_clip.error().message, HasSubstr("mute.mp4: expected a file with sound, found none"));
  const auto empty = decode_audio(wav16(16000, 1, {}), "empty.wav");
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().message, HasSubstr("empty.wav"));
}

TEST(AudioFrames, FillTokensAndPadTheLast) {
  for (const auto& [samples, rows] :
       {std::pair{1, 1}, {160, 1}, {640, 1}, {641, 2}, {16000, 25}, {16001, 26}, {59200, 93}, {480000, 750}}) {
    std::vector<float> wave(samples);
    for (int i = 0; i < samples; ++i) wave[i] = static_cast<float>(i + 1) / 3.0f;
    const MediaInput input = audio_frames(wave, {});
    EXPECT_EQ(input.kind, MediaKind::kAudio);
    EXPECT_EQ(input.rows, rows);
    EXPECT_EQ(input.cols, 640);
    ASSERT_EQ(input.values.size(), static_cast<size_t>(rows) * 640);
    EXPECT_TRUE(std::equal(wave.begin(), wave.end(), input.values.begin()));
    for (size_t i = samples; i < input.values.size(); ++i) ASSERT_EQ(input.values[i], 0.0f);
    EXPECT_DOUBLE_EQ(input.seconds, samples / 16000.0);
    EXPECT_TRUE(input.positions.empty());
  }
  // A clip that ends in zeros is another one than the shorter clip.
  const std::vector<float> wave(640, 0.5f), shorter(639, 0.5f);
  std::vector<float> zero_at_end = wave;
  zero_at_end.back() = 0.0f;
  EXPECT_EQ(audio_frames(shorter, {}).values, audio_frames(zero_at_end, {}).values);
  EXPECT_NE(audio_frames(shorter, {}).content_hash, audio_frames(zero_at_end, {}).content_hash);
  EXPECT_EQ(audio_frames(wave, {}).content_hash, audio_frames(wave, {}).content_hash);
}

}  // namespace
}  // namespace lapidary
