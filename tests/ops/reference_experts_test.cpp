// Routing and experts of the oracle against answers worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "ops/reference_fixture.h"

namespace lapidary {
namespace {

class ReferenceExperts : public testing::ReferenceFixture {
 protected:
  std::vector<int32_t> read_ids(TensorView x) {
    std::vector<int32_t> out(static_cast<size_t>(x.rows));
    ops_->read_ids(x, out);
    return out;
  }
};

TEST_F(ReferenceExperts, RoutesToTheLargestAndScalesAfterMakingThemSumToOne) {
  // Probabilities 0.4, 0.1, 0.3, 0.2; then three equals, of which the first two are taken.
  const TensorView logits = tensor(2, 4, {std::log(4.0f), std::log(1.0f), std::log(3.0f), std::log(2.0f), -9, 1, 1, 1});
  const TensorView scale = tensor(1, 4, {7, 100, 14, 2}, DType::kF32);
  const TensorView chosen = ids(std::vector<int32_t>(4)), weights = tensor(4, 1, {0, 0, 0, 0});
  ops_->route(logits, scale, 2, chosen, weights);
  EXPECT_EQ(read_ids(chosen), (std::vector<int32_t>{0, 2, 1, 2}));
  const std::vector<float> got = values(weights), expected = {4, 6, 50, 7};  // 4/7 * 7, 3/7 * 14, 1/2 * 100, 1/2 * 14
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5) << i;
}

TEST_F(ReferenceExperts, ScatterAddsWeightedRows) {
  const TensorView x = tensor(3, 2, {1, 2, 3, 4, 5, 6});
  ops_->scatter_add_rows(tensor(2, 2, {10, 20, 30, 40}), ids({2, 0}), tensor(2, 1, {0.5f, -1}), x);
  EXPECT_EQ(values(x), (std::vector<float>{-29, -38, 3, 4, 10, 16}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const TensorView poisoned = tensor(1, 2, {nan, nan});
  ops_->clear(poisoned);
  EXPECT_EQ(values(poisoned), (std::vector<float>{0, 0}));
}

// Each expert is 1 wide: gate, up and down are single numbers, and an expert says down * gelu(gate x) * (up x).
TEST_F(ReferenceExperts, EveryRowHearsItsOwnExperts) {
  const std::vector<float> numbers = {1, 2, 3, 1, -1, 5, 2, 1, 10};  // gate, up, down of three experts
  std::vector<MlpWeights> experts;
  const auto matrix = [&](size_t at) {
    return QuantizedMatrix{
        .format = Format::kF32, .out = 1, .in = 1, .blocks = std::as_bytes(std::span(numbers).subspan(at, 1))};
  };
  for (size_t e = 0; e < 3; ++e) experts.push_back({matrix(3 * e), matrix(3 * e + 1), matrix(3 * e + 2)});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto scratch = [&](int32_t rows) {
    return tensor(rows, 1, std::vector<float>(static_cast<size_t>(rows), nan));
  };
  const ExpertWorkspace b{.rows = ids(std::vector<int32_t>(4)),
                          .pairs = ids(std::vector<int32_t>(4)),
                          .x = scratch(2),
                          .y = scratch(2),
                          .gate = scratch(2),
                          .up = scratch(2),
                          .weights = scratch(2)};
  const TensorView out = scratch(2);
  ops_->experts(tensor(2, 1, {1, -1}), experts, ids({0, 2, 0, 1}), tensor(4, 1, {0.5f, 2, 1, 4}), b, out);
  const double gelu1 = 0.8411919906, gelu2 = 1.9545976996, gelu_1 = gelu1 - 1;
  EXPECT_NEAR(values(out)[0], 0.5 * 3 * gelu1 * 2 + 2.0 * 10 * gelu2 * 1, 1e-5);
  EXPECT_NEAR(values(out)[1], 1.0 * 3 * gelu_1 * -2 + 4.0 * 5 * gelu_1 * 1, 1e-5);
}

}  // namespace
}  // namespace lapidary
