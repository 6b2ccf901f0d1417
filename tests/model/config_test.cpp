#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "model/generation_config.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

// A small configuration as the releases write it; tests change one thing each.
Json base_config() {
  return *parse_json(R"({
    "model_type": "gemma4_unified", "image_token_id": 90, "audio_token_id": 91, "video_token_id": 92, "eos_token_id": [1, 50],
    "text_config": {
      "model_type": "gemma4_unified_text", "vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
      "num_attention_heads": 4, "num_key_value_heads": 2, "num_global_key_value_heads": 1, "head_dim": 8, "global_head_dim": 16,
      "attention_k_eq_v": true, "sliding_window": 12, "max_position_embeddings": 4096, "final_logit_softcapping": 30.0,
      "layer_types": ["sliding_attention", "sliding_attention", "full_attention"], "use_bidirectional_attention": "vision",
      "rms_norm_eps": 1e-6, "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25}}},
    "vision_config": {"patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": 16, "mm_posemb_size": 64},
    "audio_config": {"audio_embed_dim": 640}})",
                     "base");
}

std::string message(const Json& json) {
  const auto config = read_model_config(json, "config.json");
  return config ? "accepted" : config.error().message;
}

TEST(Config, ReadsHeadsOfBothKinds) {
  const auto config = read_model_config(base_config(), "config.json");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->variant, "12b-unified");
  const LayerSpec &sliding = config->layers[0], &global = config->layers[2];
  EXPECT_EQ(sliding.head_dim, 8);
  EXPECT_EQ(sliding.kv_heads, 2);
  EXPECT_FALSE(sliding.values_from_keys);
  EXPECT_EQ(sliding.rope.rotary_fraction, 1.0f);
  EXPECT_EQ(global.attention, AttentionKind::kGlobal);
  EXPECT_EQ(global.head_dim, 16);
  EXPECT_EQ(global.kv_heads, 1);
  EXPECT_TRUE(global.values_from_keys);
  EXPECT_EQ(global.rope.theta, 1e6f);
  EXPECT_EQ(global.rope.rotary_fraction, 0.25f);
  EXPECT_TRUE(config->image_tokens_see_each_other);
  EXPECT_EQ(config->vision->patch_values(), 6912);
  EXPECT_EQ(config->audio->samples_per_token, 640);
  EXPECT_EQ(config->eos_ids, (std::vector<int32_t>{1, 50}));
}

TEST(Config, ReadsOverridesAsNewerFilesWriteThem) {
  Json json = base_config();
  json["text_config"].erase("global_head_dim");
  json["text_config"].erase("num_global_key_value_heads");
  json["text_config"]["per_layer_config"] = {{"2", {{"head_dim", 32}, {"num_key_value_heads", 4}}}};
  const auto config = read_model_config(json, "config.json");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers[2].head_dim, 32);
  EXPECT_EQ(config->layers[2].kv_heads, 4);
  EXPECT_EQ(config->layers[0].head_dim, 8);
}

TEST(Config, GlobalKeyValueHeadsCountOnlyWhereKeysAreValues) {
  Json json = base_config();
  json["text_config"]["attention_k_eq_v"] = false;
  EXPECT_EQ(read_model_config(json, "c")->layers[2].kv_heads, 2);
  json["text_config"]["attention_k_eq_v"] = true;
  json["text_config"]["num_global_key_value_heads"] = nullptr;
  EXPECT_EQ(read_model_config(json, "c")->layers[2].kv_heads, 2);
}

TEST(Config, RefusesWithKeyExpectedAndFound) {
  const auto with = [](const char* section, const char* key, const Json& value) {
    Json json = base_config();
    (section[0] == '\0' ? json : json[section])[key] = value;
    return message(json);
  };
  EXPECT_THAT(with("", "model_type", "llama"), HasSubstr("gemma4_unified_text, found llama"));
  EXPECT_THAT(with("text_config", "hidden_size", -3), HasSubstr("\"hidden_size\": expected an integer in [1, "));
  EXPECT_THAT(with("text_config", "layer_types", Json::array({"full_attention"})),
              HasSubstr("one entry for each of 3 layers"));
  EXPECT_THAT(with("text_config", "hidden_activation", "relu"), HasSubstr("found relu"));
  EXPECT_THAT(with("text_config", "num_key_value_heads", 3), HasSubstr("4 query heads cannot share 3"));
  EXPECT_THAT(with("text_config", "head_dim", 7), HasSubstr("is odd"));
  EXPECT_THAT(with("text_config", "use_bidirectional_attention", "all"), HasSubstr("found \"all\""));
  EXPECT_THAT(with("vision_config", "model_patch_size", 47), HasSubstr("model_patch_size is 47"));
  EXPECT_THAT(with("", "eos_token_id", 100), HasSubstr("expected ids in [0, 100), found 100"));
  EXPECT_THAT(with("", "image_token_id", 100), HasSubstr("image_token_id"));
  Json no_rope = base_config();
  no_rope["text_config"].erase("rope_parameters");
  EXPECT_THAT(message(no_rope), HasSubstr("rope_parameters"));
}

TEST(Config, TowersAreOptional) {
  Json json = base_config();
  json["vision_config"] = nullptr;
  json.erase("audio_config");
  const auto config = read_model_config(json, "c");
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->vision || config->audio);
}

TEST(GenerationConfig, JoinsStopIdsAndKeepsSuppressedOnes) {
  const ModelConfig config = *read_model_config(base_config(), "c");
  const auto defaults = read_generation_defaults(
      *parse_json(R"({"temperature": 0.5, "top_k": 3, "eos_token_id": [1, 7], "suppress_tokens": [9]})", "g"), "g",
      config);
  ASSERT_TRUE(defaults) << defaults.error().message;
  EXPECT_EQ(defaults->stop_ids, (std::vector<int32_t>{1, 50, 7}));
  EXPECT_EQ(defaults->suppressed_ids, (std::vector<int32_t>{9}));
  EXPECT_EQ(defaults->top_k, 3);
  EXPECT_EQ(read_generation_defaults(*parse_json(R"({"do_sample": false})", "g"), "g", config)->temperature, 0.0f);
  EXPECT_THAT(read_generation_defaults(*parse_json(R"({"top_p": 1.5})", "g"), "g", config).error().message,
              HasSubstr("top_p"));
  EXPECT_THAT(read_generation_defaults(*parse_json(R"({"suppress_tokens": [100]})", "g"), "g", config).error().message,
              HasSubstr("found 100"));
}

}  // namespace
}  // namespace lapidary
