// audio_config: what is read from it, the reference's defaults, and what is refused.
#include "model/audio_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lapidary {
namespace {

using ::testing::HasSubstr;

Result<AudioTowerConfig> read(const Json& json) {
  const auto object = JsonObject::of(json, "config.json: audio_config");
  return object ? read_audio_tower_config(*object) : Result<AudioTowerConfig>(object.error());
}

TEST(AudioConfig, DefaultsAreTheReleasedOnes) {
  const auto config = read(Json::object({{"model_type", "gemma4_audio"}, {"a_key_of_the_future", 1}}));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->bands, 128);
  EXPECT_EQ(config->channels, 32);
  EXPECT_EQ(config->flat_width(), 1024);
  EXPECT_EQ(config->dim, 1024);
  EXPECT_EQ(config->head_dim(), 128);
  EXPECT_EQ(config->layers, 12);
  EXPECT_EQ(config->taps, 5);
  EXPECT_EQ(config->keys, 12);  // the row and eleven before it: one less than attention_context_left
  EXPECT_EQ(config->output_dim, 1536);
  EXPECT_EQ(config->cap, 50.0f);
  EXPECT_EQ(config->residual, 0.5f);
  EXPECT_EQ(config->clamp, 1e10f);
  EXPECT_TRUE(config->clipped);
}

TEST(AudioConfig, RefusesWithKeyExpectedAndFound) {
  const auto message = [](const char* key, const Json& value) {
    const auto config = read(Json::object({{key, value}}));
    return config ? "accepted" : config.error().message;
  };
  EXPECT_THAT(message("subsampling_conv_channels", {128}), HasSubstr("expected two numbers in [1, 1024], found [128]"));
  EXPECT_THAT(message("subsampling_conv_channels", Json::array({126, 32})), HasSubstr("divisible by 4"));
  EXPECT_THAT(message("subsampling_conv_channels", Json::array({1 << 20, 32})), HasSubstr("expected two numbers"));
  EXPECT_THAT(message("num_attention_heads", 3), HasSubstr("\"hidden_size\": expected an even multiple"));
  EXPECT_THAT(message("hidden_size", 1LL << 40), HasSubstr("hidden_size"));
  EXPECT_THAT(message("attention_chunk_size", 100),
              HasSubstr("\"attention_chunk_size\": expected an integer in [1, 64]"));
  EXPECT_THAT(message("attention_context_left", 14),
              HasSubstr("expected 13 (one more than attention_chunk_size) and 0"));
  EXPECT_THAT(message("attention_context_right", 2), HasSubstr("found 13 and 2"));
  EXPECT_THAT(message("attention_logit_cap", 0),
              HasSubstr("\"attention_logit_cap\": expected a number above 0, found 0"));
  EXPECT_THAT(message("attention_invalid_logits_value", -50.0), HasSubstr("far below -attention_logit_cap"));
  EXPECT_THAT(message("hidden_act", "gelu"), HasSubstr("expected silu, found gelu"));
  EXPECT_THAT(message("gradient_clipping", 1e300), HasSubstr("\"gradient_clipping\""));
  EXPECT_THAT(message("conv_kernel_size", 0),
              HasSubstr("\"conv_kernel_size\": expected an integer in [1, 64], found 0"));
  EXPECT_THAT(message("use_clipped_linears", 1), HasSubstr("use_clipped_linears"));
}

}  // namespace
}  // namespace lapidary
