// The oracle at the largest budgets, up to 10,080 patches: every pair of them in double precision, which takes a while.
#include <gtest/gtest.h>

#include <cstdio>

#include "model/tower_golden.h"

namespace lapidary {
namespace {

TEST(TowerOracle, EveryLayerAndSoftTokenAtTheLargestBudgets) {
  const auto model = testing::open("e2b-vision", "reference", 1);
  double worst = 0;
  int32_t compared = 0;
  for (const std::filesystem::path& path : testing::pictures_of("e2b-vision")) {
    const testing::GoldenPicture golden = testing::load_picture(path);
    if (golden.json["image_tokens"].get<int32_t>() <= 280) continue;
    expect_picture(*model, "e2b-vision", golden, path.string(), worst);
    ++compared;
  }
  EXPECT_EQ(compared, 2);
  std::printf("e2b-vision on reference, budgets of 560 and 1120: largest relative error %.2g\n", worst);
}

}  // namespace
}  // namespace lapidary
