// The configurations of the releases and their drafters, as published and as the reference saves them again.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/mapped_file.h"
#include "model/config.h"
#include "model/decoder.h"
#include "model/drafter_config.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

Json read_config(const std::string& name) {
  const std::string path = std::string(LAPIDARY_SOURCE_DIR) + "/tests/golden/configs/" + name + ".json";
  const auto text = read_file(path, 1 << 20);
  EXPECT_TRUE(text) << path;
  return text ? *parse_json(*text, name) : Json();
}

ModelConfig model_config(const std::string& name) {
  const auto config = read_model_config(read_config(name), name);
  EXPECT_TRUE(config) << config.error().message;
  return config ? *config : ModelConfig{};
}

// What the format's tables say of each release. Bytes of K and V in bf16, a position: those that grow for ever, and
// those inside the window.
struct Release {
  const char* name;
  const char* variant;
  int32_t layers, dim, window, positions, borrowing;
  int64_t global_bytes, sliding_bytes;
  int32_t sliding_source, global_source;  // of the drafter
};

class Published : public ::testing::TestWithParam<Release> {};

bool same_layer(const LayerSpec& a, const LayerSpec& b) {
  return a.attention == b.attention && a.head_dim == b.head_dim && a.kv_heads == b.kv_heads &&
         a.kv_source == b.kv_source && a.values_from_keys == b.values_from_keys && a.rope.theta == b.rope.theta &&
         a.rope.rotary_fraction == b.rope.rotary_fraction && a.ffn_hidden == b.ffn_hidden &&
         a.moe.has_value() == b.moe.has_value();
}

TEST_P(Published, HasTheSizesOfTheTables) {
  const Release& release = GetParam();
  const ModelConfig config = model_config(release.name);
  EXPECT_EQ(config.variant, release.variant);
  EXPECT_EQ(static_cast<int32_t>(config.layers.size()), release.layers);
  EXPECT_EQ(config.dim, release.dim);
  EXPECT_EQ(config.vocab, 262144);
  EXPECT_EQ(config.sliding_window, release.window);
  EXPECT_EQ(config.positions_max, release.positions);
  EXPECT_EQ(release.layers - config.borrowing_tail(), release.borrowing);
  EXPECT_EQ(config.final_softcap, 30.0f);
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{1, 106, 50}));
  EXPECT_EQ(config.image_tokens_see_each_other, release.borrowing == 0);
  EXPECT_EQ(config.layers.back().attention, AttentionKind::kGlobal);
  EXPECT_EQ(config.layers.back().head_dim, 512);
  EXPECT_EQ(config.layers.back().rope.theta, 1e6f);
  EXPECT_EQ(config.layers.back().rope.rotary_fraction, 0.25f);
  EXPECT_EQ(config.layers.front().head_dim, 256);
  EXPECT_EQ(config.layers.front().rope.theta, 1e4f);
  const KvLayout layout = kv_layout(config);
  EXPECT_EQ(kv_page_bytes(layout.groups[static_cast<size_t>(AttentionKind::kGlobal)], DType::kBF16),
            release.global_bytes * kPagePositions);
  EXPECT_EQ(kv_page_bytes(layout.groups[static_cast<size_t>(AttentionKind::kSliding)], DType::kBF16),
            release.sliding_bytes * kPagePositions);
}

TEST_P(Published, MeansTheSameWhenSavedAgain) {
  const std::string name = GetParam().name;
  const ModelConfig first = model_config(name), again = model_config(name + "-resaved");
  EXPECT_TRUE(read_config(name + "-resaved")["text_config"].contains("per_layer_config"));
  EXPECT_EQ(again.variant, first.variant);
  EXPECT_EQ(again.dim, first.dim);
  EXPECT_EQ(again.heads, first.heads);
  EXPECT_EQ(again.per_layer_dim, first.per_layer_dim);
  EXPECT_EQ(again.final_softcap, first.final_softcap);
  EXPECT_EQ(again.eos_ids, first.eos_ids);
  ASSERT_EQ(again.layers.size(), first.layers.size());
  for (size_t l = 0; l < first.layers.size(); ++l) EXPECT_TRUE(same_layer(again.layers[l], first.layers[l])) << l;
}

TEST_P(Published, ItsDrafterReadsTheLayersOfTheTables) {
  const Release& release = GetParam();
  const std::string name = release.name;
  const ModelConfig target = model_config(name);
  for (const char* suffix : {"-drafter", "-drafter-resaved"}) {
    const auto drafter = read_drafter_config(read_config(name + suffix), name + suffix, target);
    ASSERT_TRUE(drafter) << drafter.error().message;
    ASSERT_EQ(drafter->layers.size(), 4u);
    for (size_t l = 0; l < 4; ++l) {
      EXPECT_EQ(drafter->layers[l].kv_source, l < 3 ? release.sliding_source : release.global_source);
      EXPECT_EQ(drafter->layers[l].head_dim, l < 3 ? 256 : 512);
    }
    EXPECT_EQ(drafter->clusters, release.borrowing > 0 ? 2048 : 0);
    EXPECT_EQ(drafter->cluster_tokens(), release.borrowing > 0 ? 128 : 0);
    EXPECT_EQ(drafter->backbone_dim, release.dim);
  }
  // No other release's drafter fits.
  for (const char* other : {"e2b", "e4b", "12b", "26b-a4b", "31b"}) {
    if (name == other) continue;
    const auto refused = read_drafter_config(read_config(std::string(other) + "-drafter"), other, target);
    ASSERT_FALSE(refused) << other;
    EXPECT_THAT(refused.error().message, HasSubstr("backbone_hidden_size is"));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Releases, Published,
    ::testing::Values(Release{"e2b", "e2b", 35, 1536, 512, 131072, 20, 6144, 12288, 13, 14},
                      Release{"e4b", "e4b", 42, 2560, 512, 131072, 18, 16384, 40960, 22, 23},
                      Release{"12b", "12b-unified", 48, 3840, 1024, 262144, 0, 16384, 327680, 46, 47},
                      Release{"26b-a4b", "26b-a4b", 30, 2816, 1024, 262144, 0, 20480, 204800, 28, 29},
                      Release{"31b", "31b", 60, 5376, 1024, 262144, 0, 81920, 819200, 58, 59}),
    [](const auto& release) {
      std::string name = release.param.name;
      name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
      return name;
    });

TEST(PublishedOverrides, KeysAreIndicesHoweverPadded) {
  const auto message_with = [](const Json& overrides) {
    Json json = read_config("31b-resaved");
    json["text_config"]["per_layer_config"] = overrides;
    const auto config = read_model_config(json, "c");
    return config ? fmt::format("layer 5 has {}", config->layers[5].head_dim) : config.error().message;
  };
  const Json wide = {{"head_dim", 512}, {"num_key_value_heads", 4}};
  EXPECT_EQ(message_with({{"5", wide}}), "layer 5 has 512");
  EXPECT_EQ(message_with({{"05", wide}}), "layer 5 has 512");
  EXPECT_EQ(message_with({{"0005", wide}}), "layer 5 has 512");
  EXPECT_EQ(message_with({{"50", wide}}), "layer 5 has 256");
  EXPECT_THAT(message_with({{"5", wide}, {"05", wide}}), HasSubstr("layer 5 stands in it twice"));
  for (const char* key : {"60", "-1", "", "5 ", "five", "99999999999999999999"})
    EXPECT_THAT(message_with({{key, wide}}), HasSubstr("expected indices of 60 layers, found \"" + std::string(key)));
  EXPECT_THAT(message_with({{"5", {{"sliding_window", 3}}}}),
              HasSubstr("expected head_dim and num_key_value_heads, found \"sliding_window\""));
  EXPECT_THAT(message_with({{"5", 512}}), HasSubstr("per_layer_config"));
  EXPECT_THAT(message_with({{"5", {{"head_dim", 0}}}}), HasSubstr("head_dim"));
}

}  // namespace
}  // namespace lapidary
