// How many tokens to draft, from fabricated costs and acceptances.
#include "engine/draft_depth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/rng.h"

namespace lapidary {
namespace {

CostCurve curve(const std::function<double(int32_t)>& ms, int32_t rows_max = 200) {
  CostCurve made(1, 0);
  for (int32_t rows = 1; rows <= rows_max; ++rows) {
    for (int32_t i = 0; i < 3; ++i) made.note(rows, ms(rows));
  }
  return made;
}

TEST(CostCurve, GuessesUntilItKnows) {
  CostCurve cost(2, 0.5);
  EXPECT_FALSE(cost.measured());
  EXPECT_DOUBLE_EQ(cost.at(1), 2);
  EXPECT_DOUBLE_EQ(cost.at(3), 4);
  cost.note(3, 10);
  EXPECT_TRUE(cost.measured());
  EXPECT_DOUBLE_EQ(cost.at(3), 10);
  EXPECT_DOUBLE_EQ(cost.at(1), 5);   // one row costs half of three
  EXPECT_DOUBLE_EQ(cost.at(5), 15);  // and five cost three times as much as one
  cost.note(7, 30);
  EXPECT_DOUBLE_EQ(cost.at(5), 20);  // between two that are known
  EXPECT_DOUBLE_EQ(cost.at(1), 5);
}

TEST(CostCurve, ForgetsAndIsNotShakenByHiccups) {
  CostCurve cost(1, 0);
  cost.note(4, 900);  // cold
  cost.note(4, 10);
  EXPECT_DOUBLE_EQ(cost.at(4), 10);
  for (int i = 0; i < 30; ++i) cost.note(4, 10);
  cost.note(4, 1000);
  EXPECT_LT(cost.at(4), 12);
  for (int i = 0; i < 60; ++i) cost.note(4, 20);  // a longer context
  EXPECT_NEAR(cost.at(4), 20, 0.5);
}

TEST(CostCurve, KeepsLargeCountsByTheEighthOfAnOctave) {
  CostCurve cost(1, 0);
  cost.note(100, 7);
  cost.note(200, 9);
  EXPECT_DOUBLE_EQ(cost.at(96), 7);
  EXPECT_DOUBLE_EQ(cost.at(103), 7);
  EXPECT_GT(cost.at(104), 7);
  EXPECT_DOUBLE_EQ(cost.at(207), 9);
}

TEST(DraftHistory, LearnsFromWhatWasLookedAt) {
  DraftHistory history;
  EXPECT_DOUBLE_EQ(history.acceptance(0.6), 0.6);
  for (int i = 0; i < 40; ++i) history.note(8, 1);  // one of two that were looked at
  EXPECT_NEAR(history.acceptance(0.6), 0.5, 0.02);
  for (int i = 0; i < 60; ++i) history.note(4, 4);
  EXPECT_GT(history.acceptance(0.6), 0.95);
  for (int i = 0; i < 60; ++i) history.note(1, 0);
  EXPECT_LT(history.acceptance(0.6), 0.12);
}

TEST(DraftDepth, FollowsAcceptanceAndCosts) {
  const CostCurve flat = curve([](int32_t) { return 10.0; }), steep = curve([](int32_t rows) { return 10.0 * rows; }),
                  cheap = curve([](int32_t) { return 0.1; }), dear = curve([](int32_t) { return 10.0; });
  const auto depth = [](double acceptance, const CostCurve& step, const CostCurve& draft, bool free = false) {
    const DraftOutlook outlook{acceptance, 8, free};
    return plan_draft_depths(std::span(&outlook, 1), 1, step, draft)[0];
  };
  EXPECT_EQ(depth(0.95, flat, cheap), 8);  // rows and drafts for nearly nothing
  EXPECT_EQ(depth(0.5, steep, cheap), 0);  // rows that cost as much as a step each
  EXPECT_EQ(depth(1.0, flat, dear), 0);    // drafts that do
  EXPECT_EQ(depth(1.0, flat, dear, true), 8);
  EXPECT_EQ(depth(0.0, flat, cheap), 0);
  const int32_t some = depth(0.6, curve([](int32_t rows) { return 10.0 + rows; }), curve([](int32_t) { return 0.5; }));
  EXPECT_GT(some, 0);
  EXPECT_LT(some, 8);
  // The second row is dear, the next ones are not: a plan that looks one draft ahead would stop.
  EXPECT_EQ(depth(0.99, curve([](int32_t rows) { return rows == 1 ? 10.0 : 25.0; }), cheap), 8);
}

TEST(DraftDepth, SharesABatch) {
  // Up to eight rows for nothing, then every row costs: five answers have three drafts to share.
  const CostCurve step = curve([](int32_t rows) { return rows <= 8 ? 10.0 : 10.0 + 8.0 * (rows - 8); }),
                  draft = curve([](int32_t) { return 0.01; });
  std::vector<DraftOutlook> outlooks(5, {0.3, 8, false});
  outlooks[3].acceptance = 0.9;
  const std::vector<int32_t> depths = plan_draft_depths(outlooks, 5, step, draft);
  EXPECT_EQ(depths, (std::vector<int32_t>{0, 0, 0, 3, 0}));
  // Who may have one gets one, and the next best get the others.
  outlooks[3].most = 1;
  EXPECT_EQ(plan_draft_depths(outlooks, 5, step, draft), (std::vector<int32_t>{1, 1, 0, 1, 0}));
  // Beside a long piece of a prompt, whose time is spent anyway, a row more is little.
  for (const int32_t depth : plan_draft_depths(outlooks, 150, step, draft)) EXPECT_GT(depth, 0);
}

// No other depths are faster, for one answer and for two.
TEST(DraftDepth, IsTheBestThereIs) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const auto roll = [&](uint64_t which) { return uniform_open(seed, which, 0); };
    const double base = 1 + 9 * roll(1), row = 2 * roll(2), draft_ms = 3 * roll(3) * roll(3);
    const CostCurve step = curve([&](int32_t rows) { return base + row * rows; }, 20),
                    draft = curve([&](int32_t) { return draft_ms; }, 20);
    const DraftOutlook outlook{roll(4), 8, false};
    const auto rate = [&](int32_t depth) {
      double tokens = 1;
      for (int32_t d = 1; d <= depth; ++d) tokens += std::pow(outlook.acceptance, d);
      return tokens / (step.at(1 + depth) + depth * draft.at(1));
    };
    const int32_t depth = plan_draft_depths(std::span(&outlook, 1), 1, step, draft)[0];
    for (int32_t other = 0; other <= 8; ++other) EXPECT_GE(rate(depth) * (1 + 1e-12), rate(other)) << seed;
  }
}

TEST(DraftProbe, ComesLaterAndLaterWhileItIsInVain) {
  DraftProbe probe;
  std::vector<int32_t> at;
  for (int32_t round = 1; round <= 2000; ++round) {
    if (probe.due(0)) at.push_back(round);
  }
  ASSERT_GE(at.size(), 6u);
  EXPECT_EQ(at[0], 32);
  EXPECT_EQ(at[1], 32 + 64);
  EXPECT_EQ(at[5] - at[4], 512);
  EXPECT_FALSE(probe.due(3));
  for (int32_t round = 1; round < 32; ++round) EXPECT_FALSE(probe.due(0));
  EXPECT_TRUE(probe.due(0));
}

}  // namespace
}  // namespace lapidary
