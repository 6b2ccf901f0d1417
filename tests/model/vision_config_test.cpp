// What is read from vision_config, which tensors the tower binds under which names, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model.h"
#include "model/model_copy.h"
#include "model/vision_config.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

// As released with E2B.
Json released() {
  return *parse_json(R"({
    "model_type": "gemma4_vision", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 16,
    "num_attention_heads": 12, "num_key_value_heads": 12, "head_dim": 64, "hidden_activation": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6, "max_position_embeddings": 131072, "attention_bias": false, "attention_dropout": 0.0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}, "pooling_kernel_size": 3, "patch_size": 16,
    "position_embedding_size": 10240, "use_clipped_linears": true, "standardize": false, "a_later_key": [1]})",
                     "released");
}

Result<VisionTowerConfig> read(const Json& json) { return read_vision_tower_config(*JsonObject::of(json, "c")); }

std::string message_with(const char* key, const Json& value) {
  Json json = released();
  json[key] = value;
  const auto config = read(json);
  return config ? "accepted" : config.error().message;
}

TEST(VisionConfig, ReadsTheReleasedOne) {
  const auto config = read(released());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->dim, 768);
  EXPECT_EQ(config->layers, 16);
  EXPECT_EQ(config->heads, 12);
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->ffn_hidden, 3072);
  EXPECT_EQ(config->positions, 10240);
  EXPECT_EQ(config->patch_values(), 768);
  EXPECT_EQ(config->patches_per_token(), 9);
  EXPECT_EQ(config->rope_theta, 100.0f);
  EXPECT_EQ(config->rms_eps, 1e-6f);
  EXPECT_TRUE(config->clipped);
  EXPECT_FALSE(config->standardised);
}

TEST(VisionConfig, WhatIsAbsentHasTheReferencesDefault) {
  Json json = {{"hidden_size", 32}, {"intermediate_size", 40}, {"num_hidden_layers", 2}, {"num_attention_heads", 3}};
  const auto config = read(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->patch_pixels, 16);
  EXPECT_EQ(config->pooling, 3);
  EXPECT_EQ(config->positions, 10240);
  EXPECT_EQ(config->rope_theta, 100.0f);
  EXPECT_FALSE(config->clipped || config->standardised);
}

TEST(VisionConfig, RefusesWhatTheTowerHasNoMeaningFor) {
  EXPECT_EQ(message_with("rope_parameters", {{"rope_type", "axial"}, {"rope_theta", 50.0}}), "accepted");
  EXPECT_EQ(message_with("rope_parameters", nullptr), "accepted");
  EXPECT_THAT(message_with("rope_parameters", {{"rope_type", "yarn"}}),
              HasSubstr("expected default or axial, found yarn"));
  EXPECT_THAT(message_with("rope_parameters", {{"rope_theta", 1.0}}), HasSubstr("expected a number above 1, found 1"));
  EXPECT_THAT(message_with("num_key_value_heads", 4), HasSubstr("expected num_attention_heads, 12, found 4"));
  EXPECT_THAT(message_with("head_dim", 66), HasSubstr("expected a multiple of 4, found 66"));
  EXPECT_THAT(message_with("hidden_activation", "relu"), HasSubstr("gelu_pytorch_tanh, found relu"));
  EXPECT_THAT(message_with("attention_bias", true), HasSubstr("expected false"));
  EXPECT_THAT(message_with("hidden_size", "wide"), HasSubstr("hidden_size"));
  EXPECT_THAT(message_with("hidden_size", nullptr), HasSubstr("hidden_size"));
  EXPECT_THAT(message_with("num_hidden_layers", 0), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(message_with("pooling_kernel_size", 17), HasSubstr("[1, 16], found 17"));
  EXPECT_THAT(message_with("num_attention_heads", 131072), HasSubstr("131072"));
  EXPECT_THAT(message_with("rms_norm_eps", 0), HasSubstr("small positive number"));
}

class BindVision : public testing::ModelCopy {};

constexpr const char* kTensors = "model.safetensors";

TEST_F(BindVision, EveryLayerHasItsOwnRanges) {
  use("e2b-vision");
  const auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  const VisionTowerWeights& w = (*model)->weights().vision_tower;
  ASSERT_EQ(w.layers.size(), 3u);
  const VisionLayerWeights& layer = w.layers[1];
  for (const ClippedMatrix* m : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
    EXPECT_FALSE(m->input.unbounded() || m->output.unbounded());
    EXPECT_LT(m->input.low, 0.0f);
    EXPECT_LT(0.0f, m->output.high);
  }
  EXPECT_FALSE(layer.k.input == layer.v.input);
  EXPECT_EQ(w.positions.out, 2 * 310);
  EXPECT_TRUE(w.minus_shift.empty());
}

TEST_F(BindVision, WithoutRangesNothingIsCutAndPooledRowsAreStandardised) {
  use("a26b-vision");
  const auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  const VisionTowerWeights& w = (*model)->weights().vision_tower;
  EXPECT_TRUE(w.layers[0].q.input.unbounded() && w.layers[1].down.output.unbounded());
  EXPECT_EQ(w.minus_shift.cols, 36);
  EXPECT_EQ(w.column_scale.cols, 36);
}

TEST_F(BindVision, TakesTheNamesOfReexports) {
  use("d31b-vision");
  replace(kTensors, "\"model.vision_tower.", "      \"vision_tower.");
  replace(kTensors, "\"model.embed_vision.", "      \"embed_vision.");
  EXPECT_EQ(message(), "opened");
  use("a26b-vision");
  replace(kTensors, "_proj.linear.weight\"", "_proj.weight\"       ");
  EXPECT_EQ(message(), "opened");
}

TEST_F(BindVision, SaysWhatIsMissingOrHasAnotherShape) {
  use("e2b-vision");
  replace(kTensors, "layers.2.mlp.up_proj.output_max", "layers.2.mlp.up_proj.output_mox");
  EXPECT_THAT(message(), HasSubstr("model.vision_tower.encoder.layers.2.mlp.up_proj.output_max is missing"));
  use("e2b-vision");
  replace("config.json", "\"position_embedding_size\": 310", "\"position_embedding_size\": 311");
  EXPECT_THAT(message(), HasSubstr("position_embedding_table is [2, 310, 32], expected [2, 311, 32]"));
  use("e2b-vision");
  replace("config.json", "\"patch_size\": 16", "\"patch_size\": 4");
  EXPECT_THAT(message(), HasSubstr("input_proj.weight is [32, 768], expected [32, 48]"));
  use("d31b-vision");
  replace(kTensors, "vision_tower.std_scale", "vision_tower.std_scele");
  EXPECT_THAT(message(), HasSubstr("vision_tower.std_scale is missing, expected [40]"));
}

TEST_F(BindVision, RefusesRangesWhoseEndsAreNotInOrder) {
  use("e2b-vision");
  replace(kTensors, "layers.0.self_attn.o_proj.input_min", "layers.0.self_attn.o_proj.input_mXX");
  replace(kTensors, "layers.0.self_attn.o_proj.input_max", "layers.0.self_attn.o_proj.input_min");
  replace(kTensors, "layers.0.self_attn.o_proj.input_mXX", "layers.0.self_attn.o_proj.input_max");
  EXPECT_THAT(message(), HasSubstr("layers.0.self_attn.o_proj.input_min is 0."));
  EXPECT_THAT(message(), HasSubstr("input_max -0."));
}

}  // namespace
}  // namespace lapidary
