// Configurations of the four variants with towers: what is read from them, which release they are, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/config.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

// Six layers of the small models' structure, the last three borrowing; tests change it into the others.
Json small_config() {
  return *parse_json(R"({
    "model_type": "gemma4", "image_token_id": 90, "audio_token_id": 91, "video_token_id": 92, "eos_token_id": 1,
    "text_config": {
      "model_type": "gemma4_text", "vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 6,
      "num_attention_heads": 4, "num_key_value_heads": 1, "num_global_key_value_heads": null, "head_dim": 8,
      "global_head_dim": 16, "attention_k_eq_v": false, "sliding_window": 12, "max_position_embeddings": 4096,
      "final_logit_softcapping": 30.0, "use_bidirectional_attention": null, "num_kv_shared_layers": 3,
      "use_double_wide_mlp": true, "hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 100,
      "enable_moe_block": false, "num_experts": null, "top_k_experts": null, "moe_intermediate_size": null,
      "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention",
                      "sliding_attention", "full_attention"],
      "rms_norm_eps": 1e-6, "a_key_of_the_future": {"x": [1, 2]}, "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25}}}})",
                     "small");
}

Json experts_config() {
  Json json = small_config();
  Json& text = json["text_config"];
  text["num_kv_shared_layers"] = 0;
  text["use_double_wide_mlp"] = false;
  text["hidden_size_per_layer_input"] = 0;
  text["attention_k_eq_v"] = true;
  text["num_key_value_heads"] = 2;
  text["num_global_key_value_heads"] = 1;
  text["enable_moe_block"] = true;
  text["num_experts"] = 10;
  text["top_k_experts"] = 3;
  text["moe_intermediate_size"] = 7;
  text["use_bidirectional_attention"] = "vision";
  return json;
}

std::string message_with(Json json, const char* key, const Json& value) {
  json["text_config"][key] = value;
  const auto config = read_model_config(json, "config.json");
  return config ? "accepted" : config.error().message;
}

TEST(Variants, BorrowingLayersReadTheLastOfTheirKindThatHasItsOwn) {
  const auto config = read_model_config(small_config(), "c");
  ASSERT_TRUE(config) << config.error().message;
  std::vector<int32_t> sources, widths;
  for (const LayerSpec& layer : config->layers) {
    sources.push_back(layer.kv_source);
    widths.push_back(layer.ffn_hidden);
  }
  EXPECT_EQ(sources, (std::vector<int32_t>{0, 1, 2, 2, 2, 1}));
  EXPECT_EQ(widths, (std::vector<int32_t>{32, 32, 32, 64, 64, 64}));  // double where borrowed, and only there
  EXPECT_EQ(config->borrowing_tail(), 3);
  EXPECT_EQ(config->per_layer_dim, 4);
  EXPECT_FALSE(config->image_tokens_see_each_other);
  EXPECT_EQ(config->layers[1].kv_heads, 1);
  EXPECT_FALSE(config->layers[1].values_from_keys);
}

TEST(Variants, AreNamedByTheirStructure) {
  EXPECT_EQ(read_model_config(small_config(), "c")->variant, "e2b");
  Json json = small_config();
  json["text_config"]["use_double_wide_mlp"] = false;
  EXPECT_EQ(read_model_config(json, "c")->variant, "e4b");
  EXPECT_EQ(read_model_config(experts_config(), "c")->variant, "26b-a4b");
  json = experts_config();
  json["text_config"]["enable_moe_block"] = false;
  const auto dense = read_model_config(json, "c");
  EXPECT_EQ(dense->variant, "31b");
  EXPECT_FALSE(dense->layers[0].moe);
  EXPECT_EQ(dense->borrowing_tail(), 6);
}

TEST(Variants, ExpertsStandInEveryLayer) {
  const auto config = read_model_config(experts_config(), "c");
  ASSERT_TRUE(config) << config.error().message;
  for (const LayerSpec& layer : config->layers) {
    ASSERT_TRUE(layer.moe);
    EXPECT_EQ(layer.moe->experts, 10);
    EXPECT_EQ(layer.moe->active, 3);
    EXPECT_EQ(layer.moe->hidden, 7);
    EXPECT_EQ(layer.ffn_hidden, 32);
  }
  EXPECT_TRUE(config->image_tokens_see_each_other);
  EXPECT_TRUE(config->layers[1].values_from_keys);
  EXPECT_EQ(config->layers[1].kv_heads, 1);
}

TEST(Variants, ATextDecoderAloneIsAModel) {
  const auto config = read_model_config(small_config()["text_config"], "c");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->variant, "e2b");
  EXPECT_FALSE(config->takes_pictures() || config->takes_sound());
}

TEST(Variants, ATowerStandsBesideTheDecoder) {
  Json json = small_config();
  EXPECT_FALSE(read_model_config(json, "c")->takes_pictures());
  json["vision_config"] = {{"model_type", "gemma4_vision"}, {"hidden_size", 32},        {"intermediate_size", 48},
                           {"num_hidden_layers", 2},        {"num_attention_heads", 2}, {"head_dim", 16}};
  const auto config = read_model_config(json, "c");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_TRUE(config->vision_tower);
  EXPECT_FALSE(config->vision || config->takes_sound());
  EXPECT_EQ(config->image_token_id, 90);
  EXPECT_EQ(config->video_token_id, 92);
  json["vision_config"]["head_dim"] = 18;
  const auto odd = read_model_config(json, "c");
  ASSERT_FALSE(odd);
  EXPECT_THAT(odd.error().message, HasSubstr("c: vision_config: \"head_dim\": expected a multiple of 4, found 18"));
}

TEST(Variants, RefusesContradictionsWithKeyExpectedAndFound) {
  const Json small = small_config(), experts = experts_config();
  EXPECT_THAT(message_with(small, "num_kv_shared_layers", 6),
              HasSubstr("\"num_kv_shared_layers\": expected an integer in [0, 5], found 6"));
  EXPECT_THAT(message_with(small, "num_kv_shared_layers", 5), HasSubstr("layer 1 borrows K and V, expected a layer"));
  EXPECT_THAT(message_with(small, "vocab_size_per_layer_input", 99), HasSubstr("expected vocab_size, 100, found 99"));
  EXPECT_THAT(message_with(small, "per_layer_config", {{"4", {{"head_dim", 16}}}}),
              HasSubstr("layer 4 borrows K and V of layer 2: expected its 1 heads of 8, found 1 of 16"));
  EXPECT_THAT(message_with(experts, "num_experts", nullptr), HasSubstr("num_experts"));
  EXPECT_THAT(message_with(experts, "top_k_experts", 11),
              HasSubstr("\"top_k_experts\": expected an integer in [1, 10], found 11"));
  EXPECT_THAT(message_with(experts, "moe_intermediate_size", "7"), HasSubstr("moe_intermediate_size"));
}

}  // namespace
}  // namespace lapidary
