#include "media/resample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace lapidary {
namespace {

std::vector<float> tone(double rate, double hertz, int64_t samples) {
  std::vector<float> wave(samples);
  for (int64_t n = 0; n < samples; ++n) {
    wave[n] = static_cast<float>(std::sin(2.0 * std::numbers::pi * hertz * static_cast<double>(n) / rate));
  }
  return wave;
}

std::vector<float> resampled(const std::vector<float>& in, int32_t in_rate, int32_t out_rate, size_t piece = SIZE_MAX) {
  Resampler resampler(in_rate, out_rate);
  std::vector<float> out;
  for (size_t at = 0; at < in.size();) {
    const size_t count = std::min(piece, in.size() - at);
    resampler.push(std::span(in).subspan(at, count), out);
    at += count;
  }
  resampler.finish(out);
  return out;
}

// 44099 Hz has no common divisor with 16000: its phases are interpolated.
constexpr int32_t kRates[] = {8000, 11025, 12000, 22050, 24000, 32000, 44099, 44100, 48000, 96000, 192000, 384000};

// In the pass band a tone comes out as the tone sampled at the other rate. The design keeps 120 dB, 1e-6, of ripple;
// interpolated phases add as much, and float sums of a thousand products of at most 1 err by about 1e-6 as well.
TEST(Resampler, TonesKeepTheirPlaceAndSize) {
  for (const int32_t rate : kRates) {
    for (const double hertz : {50.0, 440.0, 3000.0, 0.9 * 0.5 * std::min(rate, 16000)}) {
      const auto out = resampled(tone(rate, hertz, rate / 4), rate, 16000);
      const auto expected = tone(16000, hertz, std::ssize(out));
      double worst = 0;
      for (size_t n = 400; n + 400 < out.size(); ++n) worst = std::max<double>(worst, std::abs(out[n] - expected[n]));
      EXPECT_LT(worst, 5e-6) << rate << " Hz, tone of " << hertz;
    }
  }
}

TEST(Resampler, WhatCannotBeRepresentedIsRemoved) {
  for (const int32_t rate : {24000, 44099, 44100, 48000, 96000}) {
    for (const double hertz : {8200.0, 10000.0, 11900.0}) {
      const auto out = resampled(tone(rate, hertz, rate / 4), rate, 16000);
      double worst = 0;
      for (size_t n = 400; n + 400 < out.size(); ++n) worst = std::max<double>(worst, std::abs(out[n]));
      EXPECT_LT(worst, 1e-5) << rate << " Hz, tone of " << hertz;
    }
  }
}

TEST(Resampler, LengthIsRoundedUp) {
  for (const int32_t rate : kRates) {
    for (const int64_t samples : {1, 2, 3, 440, 441, 442, 4410, 48000}) {
      const int64_t expected = (samples * 16000 + rate - 1) / rate;
      EXPECT_EQ(std::ssize(resampled(std::vector<float>(samples, 0.5f), rate, 16000)), expected)
          << samples << " at " << rate;
    }
  }
}

TEST(Resampler, SilenceStaysSilence) {
  for (const int32_t rate : kRates) {
    std::vector<float> in = tone(rate, 700, rate);
    std::fill(in.begin() + rate / 4, in.begin() + rate * 3 / 4, 0.0f);
    const auto out = resampled(in, rate, 16000);
    // The filter is 90 samples of the lower rate to each side.
    const int64_t margin = 100 * 16000 / std::min(rate, 16000);
    for (int64_t n = 4000 + margin; n < 12000 - margin; ++n) ASSERT_EQ(out[n], 0.0f) << rate << " at " << n;
    EXPECT_NE(out[2000], 0.0f);
  }
}

TEST(Resampler, AConstantStaysThatConstant) {
  for (const int32_t rate : kRates) {
    const auto out = resampled(std::vector<float>(rate / 2, 0.75f), rate, 16000);
    for (size_t n = 400; n + 400 < out.size(); ++n) ASSERT_NEAR(out[n], 0.75f, 1e-6f) << rate;
  }
}

TEST(Resampler, PiecesDoNotMatter) {
  for (const int32_t rate : {11025, 44099, 48000}) {
    const auto in = tone(rate, 500, 5000);
    const auto whole = resampled(in, rate, 16000);
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{1024}}) EXPECT_EQ(resampled(in, rate, 16000, piece), whole);
  }
}

TEST(Resampler, EqualRatesPassUntouched) {
  const auto in = tone(16000, 440, 1000);
  EXPECT_EQ(resampled(in, 16000, 16000, 33), in);
}

}  // namespace
}  // namespace lapidary
