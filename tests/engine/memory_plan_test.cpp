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

}  // namespace
}  // namespace lapidary
