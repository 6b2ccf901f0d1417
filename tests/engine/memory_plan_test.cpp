#include "engine/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lapidary {
namespace {

ModelConfig twelve_b() {
  ModelConfig config;
  config.positions_max = 262144;
  config.sliding_window = 1024;
  for (int32_t l = 0; l < 48; ++l) {
    LayerSpec layer;
    layer.attention = l % 6 == 5 ? AttentionKind::kGlobal : AttentionKind::kSliding;
    layer.head_dim = l % 6 == 5 ? 512 : 256;
    layer.kv_heads = l % 6 == 5 ? 1 : 8;
    layer.kv_source = l;
    config.layers.push_back(layer);
  }
  return config;
}

TEST(MemoryPlan, TakesWhatTheModelAllowsWhenItFits) {
  const auto plan = plan_memory(twelve_b(), DType::kBF16, 2048, std::nullopt, 1LL << 40);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->context, 262144);
  EXPECT_EQ(plan->global_pages, 262144 / 32);
  // 16 KiB a position on global layers, 320 KiB on sliding ones, as the format's tables say.
  EXPECT_EQ(plan->kv_bytes, 262144LL * 16384 + plan->sliding_pages * 32LL * 327680);
}

TEST(MemoryPlan, ShrinksToTheMemoryAndSaysWhatFits) {
  const int64_t two_gib = 2LL << 30;
  const auto plan = plan_memory(twelve_b(), DType::kBF16, 2048, std::nullopt, two_gib);
  ASSERT_TRUE(plan);
  EXPECT_LE(plan->kv_bytes, two_gib);
  EXPECT_GT(plan->context, 32768);
  const auto refused = plan_memory(twelve_b(), DType::kBF16, 2048, 200000, two_gib);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("room for " + std::to_string(plan->context)));
  EXPECT_FALSE(plan_memory(twelve_b(), DType::kBF16, 2048, 262145, 1LL << 40));
  EXPECT_FALSE(plan_memory(twelve_b(), DType::kBF16, 2048, 0, 1LL << 40));
}

TEST(MemoryPlan, ManySequencesHaveTheirWindowsAndShareTheRest) {
  const int64_t page = 32LL * 16384, plenty = 1LL << 40;
  const auto one = plan_memory(twelve_b(), DType::kBF16, 2048, 8192, plenty);
  const auto eight = plan_memory(twelve_b(), DType::kBF16, 2048, 8192, plenty, 8);
  ASSERT_TRUE(one && eight);
  EXPECT_EQ(eight->global_pages, 8 * one->global_pages);
  // Eight windows of 1024, the rows of one step, and two cut pages for each.
  EXPECT_EQ(eight->sliding_pages, (8 * 1024 + 2048) / 32 + 16);
  // With less memory the contexts overlap; with one byte less than one context needs, it is refused.
  const int64_t least = eight->kv_bytes - 7LL * one->global_pages * page;
  const auto scarce = plan_memory(twelve_b(), DType::kBF16, 2048, 8192, least + 10 * page + 5, 8);
  ASSERT_TRUE(scarce);
  EXPECT_EQ(scarce->global_pages, one->global_pages + 10);
  EXPECT_EQ(scarce->kv_bytes, least + 10 * page);
  EXPECT_FALSE(plan_memory(twelve_b(), DType::kBF16, 2048, 8192, least - 1, 8));
}

TEST(MemoryPlan, PrefixesTakeAQuarterOrOneContextUnlessToldOtherwise) {
  const ModelConfig config = twelve_b();
  const int64_t two_windows = 2 * 32 * 32LL * 327680, position = 16384;
  auto small = plan_memory(config, DType::kBF16, 2048, 2048, 1LL << 40);
  ASSERT_TRUE(small);
  plan_prefixes(*small, config, DType::kBF16, std::nullopt);
  const int64_t longest = two_windows + 2048 * position;
  EXPECT_EQ(small->prefix_bytes, longest);
  EXPECT_THAT(small->description(), ::testing::HasSubstr("contexts of 2048 positions, 1 at a time"));
  EXPECT_THAT(small->description(), ::testing::HasSubstr("prefixes up to " + std::to_string(longest >> 20) + " MiB"));
  auto large = plan_memory(config, DType::kBF16, 2048, 262144, 1LL << 40);
  ASSERT_TRUE(large);
  plan_prefixes(*large, config, DType::kBF16, std::nullopt);
  EXPECT_EQ(large->prefix_bytes, two_windows + 262144 * position);
  auto shared = plan_memory(config, DType::kBF16, 2048, 8192, 1LL << 40, 16);
  ASSERT_TRUE(shared);
  plan_prefixes(*shared, config, DType::kBF16, std::nullopt);
  EXPECT_EQ(shared->prefix_bytes, shared->kv_bytes / 4);
  plan_prefixes(*large, config, DType::kBF16, 5);
  EXPECT_EQ(large->prefix_bytes, 5);
  plan_prefixes(*large, config, DType::kBF16, 1LL << 50);
  EXPECT_EQ(large->prefix_bytes, large->kv_bytes);
}

}  // namespace
}  // namespace lapidary
