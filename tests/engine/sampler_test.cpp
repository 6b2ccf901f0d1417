#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace lapidary {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Sampler, GreedyTakesTheLowestIdAmongEqualsAndNoneSuppressed) {
  Sampler sampler(5, {2});
  const std::vector<float> logits = {1, 3, 9, 3, 0};
  EXPECT_EQ(sampler.draw(logits, {.temperature = 0}, 0), 1);
}

TEST(Sampler, NanIsNeverChosen) {
  Sampler sampler(3, {});
  const std::vector<float> logits = {NAN, -1, NAN};
  EXPECT_EQ(sampler.draw(logits, {.temperature = 0}, 0), 1);
  EXPECT_EQ(sampler.draw(logits, {.temperature = 1}, 0), 1);
}

// Counts of 20,000 draws at different positions against the softmax: chi-square with 5 degrees of freedom stays below
// 25.7 with probability 0.9999.
TEST(Sampler, DrawsTheSoftmax) {
  Sampler sampler(6, {});
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, 0.5f, -1.0f, 1.5f};
  constexpr int kDraws = 20000;
  constexpr double kTemperature = 0.7;
  std::vector<int> counts(6);
  for (int i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(
        sampler.draw(logits, {.temperature = static_cast<float>(kTemperature), .top_p = 1, .top_k = 0, .seed = 5}, i))];
  }
  double total = 0, chi_square = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) / kTemperature);
  for (size_t id = 0; id < logits.size(); ++id) {
    const double expected = kDraws * std::exp(static_cast<double>(logits[id]) / kTemperature) / total;
    chi_square += (counts[id] - expected) * (counts[id] - expected) / expected;
  }
  EXPECT_LT(chi_square, 25.7);
}

std::set<int32_t> drawn(const std::vector<float>& logits, const SamplingParams& params) {
  Sampler sampler(static_cast<int32_t>(logits.size()), {});
  std::set<int32_t> seen;
  for (int32_t position = 0; position < 3000; ++position) seen.insert(sampler.draw(logits, params, position));
  return seen;
}

TEST(Sampler, FiltersKeepWhatTheReferenceKeeps) {
  const std::vector<float> even = {std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)};
  EXPECT_EQ(drawn(even, {.top_p = 1, .top_k = 2}), (std::set<int32_t>{0, 1}));
  EXPECT_EQ(drawn(even, {.top_p = 0.65f, .top_k = 0}), (std::set<int32_t>{0, 1}));  // 0.4, then 0.7 reaches 0.65
  EXPECT_EQ(drawn(even, {.top_p = 0.75f, .top_k = 0}), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(drawn(even, {.top_p = 1e-6f, .top_k = 0}), (std::set<int32_t>{0}));
  EXPECT_EQ(drawn(even, {.top_p = 1, .min_p = 0.6f, .top_k = 0}), (std::set<int32_t>{0, 1}));
  const std::vector<float> tied = {1, 2, 2, 2, 0};
  EXPECT_EQ(drawn(tied, {.top_p = 1, .top_k = 2}), (std::set<int32_t>{1, 2, 3}));  // ties at the threshold stay
  EXPECT_EQ(drawn({-kInf, 0, -kInf}, {.top_p = 1, .top_k = 0}), (std::set<int32_t>{1}));
}

TEST(Sampler, ADrawDependsOnSeedPositionAndTokenAlone) {
  Sampler a(4, {}), b(4, {});
  const std::vector<float> logits = {0, 0, 0, 0};
  const SamplingParams params{.top_p = 1, .top_k = 0, .seed = 9};
  for (int32_t position = 0; position < 50; ++position) a.draw(logits, params, position);
  for (int32_t position = 49; position >= 0; --position)
    EXPECT_EQ(a.draw(logits, params, position), b.draw(logits, params, position));
}

TEST(TokenLogprob, SumsToOneAndSortsWithLowestIdFirst) {
  const std::vector<float> logits = {1, 3, 3, -kInf, 2};
  double total = 0;
  for (int32_t id = 0; id < 5; ++id) total += std::exp(token_logprob(logits, id, 0).logprob);
  EXPECT_NEAR(total, 1, 1e-12);
  const TokenLogprob entry = token_logprob(logits, 4, 3);
  ASSERT_EQ(entry.top.size(), 3u);
  EXPECT_EQ(entry.top[0].first, 1);
  EXPECT_EQ(entry.top[1].first, 2);
  EXPECT_EQ(entry.top[2].first, 4);
  EXPECT_EQ(entry.logprob, entry.top[2].second);
}

}  // namespace
}  // namespace lapidary
