#include "media/processor_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lapidary {
namespace {

using ::testing::HasSubstr;

Result<ProcessorOptions> parse(const std::string& text) {
  const auto document = parse_json(text, "p.json");
  EXPECT_TRUE(document) << text;
  return parse_processor_options(*document, "p.json");
}

TEST(ProcessorOptions, TheReleasedDocument) {
  const auto options = parse(R"({
    "audio_ms_per_token": 40, "audio_seq_length": 750, "image_seq_length": 280, "processor_class": "Gemma4UnifiedProcessor",
    "feature_extractor": {"audio_samples_per_token": 320, "feature_size": 320, "sampling_rate": 16000, "padding_value": 0.0},
    "image_processor": {"do_convert_rgb": true, "do_normalize": false, "do_rescale": true, "do_resize": true,
      "image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0], "max_soft_tokens": 1120, "patch_size": 8,
      "pooling_kernel_size": 2, "resample": 3, "rescale_factor": 0.00392156862745098, "size": null},
    "video_processor": {"do_normalize": true, "image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0], "fps": null,
      "max_soft_tokens": 140, "num_frames": 16, "patch_size": 16, "pooling_kernel_size": 3, "resample": 3}})");
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->image.max_soft_tokens, 1120);
  EXPECT_EQ(options->image.patch_size, 8);
  EXPECT_EQ(options->image.pooling_kernel_size, 2);
  EXPECT_EQ(options->video.max_soft_tokens, 140);
  EXPECT_EQ(options->video.num_frames, 16);
  EXPECT_EQ(options->video.patch_size, 16);
  EXPECT_FALSE(options->video.fps.has_value());
  EXPECT_EQ(options->audio.samples_per_token, 320);
  EXPECT_EQ(options->audio.clip_samples_max, 480'000);
}

TEST(ProcessorOptions, WhatIsMissingKeepsTheReleasedValues) {
  const auto options = parse("{}");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->image.max_soft_tokens, 280);
  EXPECT_EQ(options->image.side(), 48);
  EXPECT_EQ(options->video.max_soft_tokens, 70);
  EXPECT_EQ(options->video.num_frames, 32);
  EXPECT_EQ(options->audio.samples_per_token, 640);
  EXPECT_EQ(parse(R"({"video_processor": {"fps": 2}})")->video.fps, 2.0);
  const auto none = read_processor_options("/nonexistent");
  ASSERT_TRUE(none);
  EXPECT_EQ(none->image.max_soft_tokens, 280);
}

// A conformer's extractor with one more setting.
std::string mel(const std::string& setting) {
  return R"({"feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", )" + setting + "}}";
}

TEST(ProcessorOptions, OnlyTheConformersExtractorMakesMelRows) {
  const auto unified = parse(
      R"({"feature_extractor": {"feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor", "feature_size": 640}})");
  ASSERT_TRUE(unified);
  EXPECT_FALSE(unified->audio.mel);
  const auto conformer = parse(mel(R"("feature_size": 32, "hop_length": 80, "per_bin_mean": null, "dither": 0.0)"));
  ASSERT_TRUE(conformer) << conformer.error().message;
  ASSERT_TRUE(conformer->audio.mel);
  EXPECT_EQ(conformer->audio.mel->bands, 32);
  EXPECT_EQ(conformer->audio.mel->hop_samples, 80);
  EXPECT_EQ(conformer->audio.mel->frame_samples, 320);
}

TEST(ProcessorOptions, ErrorsNameTheKey) {
  const std::pair<std::string, const char*> cases[] = {
      {R"([])", "p.json: expected a JSON object"},
      {R"({"image_processor": 3})", "\"image_processor\": expected an object, found 3"},
      {R"({"image_processor": {"max_soft_tokens": 256}})",
       "image_processor: \"max_soft_tokens\": expected 70, 140, 280, 560 or 1120, found 256"},
      {R"({"image_processor": {"max_soft_tokens": "280"}})", "\"max_soft_tokens\": expected an integer"},
      {R"({"image_processor": {"patch_size": 0}})", "\"patch_size\": expected an integer in [1, 64], found 0"},
      {R"({"image_processor": {"pooling_kernel_size": 1000000}})", "\"pooling_kernel_size\""},
      {R"({"image_processor": {"resample": 2}})", "\"resample\": expected 3 (bicubic), found 2"},
      {R"({"image_processor": {"rescale_factor": 1.0}})", "\"rescale_factor\": expected 1/255, found 1.0"},
      {R"({"image_processor": {"do_resize": false}})", "\"do_resize\": expected true, found false"},
      {R"({"video_processor": {"do_normalize": true, "image_mean": [0.5, 0.5, 0.5]}})",
       "\"image_mean\": expected a list of 0"},
      {R"({"video_processor": {"num_frames": 0}})", "\"num_frames\""},
      {R"({"video_processor": {"fps": 0}})", "\"fps\": expected a number above 0, found 0"},
      {R"({"feature_extractor": {"sampling_rate": 24000}})", "\"sampling_rate\": expected 16000, found 24000"},
      {R"({"feature_extractor": {"audio_samples_per_token": 0}})", "\"audio_samples_per_token\""},
      {mel(R"("fft_length": 300)"), "\"fft_length\": expected a power of two, at least frame_length, 320, found 300"},
      {mel(R"("fft_length": 256)"), "\"fft_length\": expected a power of two, at least frame_length, 320, found 256"},
      {mel(R"("hop_length": 1)"), "\"hop_length\": expected an integer in [16, 8192], found 1"},
      {mel(R"("feature_size": 1000000)"), "\"feature_size\""},
      {mel(R"("max_frequency": 9000)"), "\"max_frequency\": expected more than 0 and at most 8000, found 9000"},
      {mel(R"("mel_floor": 0)"), "\"mel_floor\": expected a number above 0, found 0"},
      {mel(R"("dither": 0.1)"), "\"dither\": expected 0, found 0.1"},
      {mel(R"("per_bin_mean": [1])"), "\"per_bin_mean\": expected null, found [1]"},
  };
  for (const auto& [text, message] : cases) {
    const auto options = parse(text);
    ASSERT_FALSE(options) << text;
    EXPECT_EQ(options.error().code, ErrorCode::kCorruptFile);
    EXPECT_THAT(options.error().message, HasSubstr(message));
  }
}

}  // namespace
}  // namespace lapidary
