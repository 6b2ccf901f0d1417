// Routing and experts on every level against the oracle, and the same bits whichever rows come together.
#include <cmath>

#include "ops_testing.h"

namespace lapidary {
namespace {

constexpr int32_t kExperts = 11, kActive = 3, kDim = 37, kHidden = 19;

TEST(CpuExperts, RouteChoosesAndWeighsAsTheOracle) {
  const auto reference = reference_ops();
  for (const int32_t active : {1, 3, kExperts}) {
    constexpr int32_t kRows = 40;
    Pair logits(kRows, kExperts, 1, 3.0), scale(1, kExperts, 2);
    for (int32_t c = 0; c < kExperts; ++c) logits.set(7, c, c < 2 ? -1.0f : 0.5f);  // ties: the lowest
    std::vector<int32_t> expected_chosen(static_cast<size_t>(kRows * active)), chosen(expected_chosen.size());
    Padded<double> expected(kRows * active, 1);
    reference->route(logits.exact.view(), scale.single.view(), active, index_view(expected_chosen), expected.view());
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> weights(kRows * active, 1);
      ops.route(logits.single.view(), scale.single.view(), active, index_view(chosen), weights.view());
      EXPECT_EQ(chosen, expected_chosen);
      // The oracle's own logits and scales are these floats: what is left is the last rounding.
      expect_near(weights, expected, [&](int r, int c) { return 2 * 0x1p-24 * std::abs(expected.at(r, c)); });
    });
    if (active == 3) {
      EXPECT_EQ(expected_chosen[7 * 3], 2);
      EXPECT_EQ(expected_chosen[7 * 3 + 2], 4);
    }
  }
}

TEST(CpuExperts, NanLogitsChooseDistinctExperts) {
  on_every_backend([&](Ops& ops, const CpuKernels&) {
    Padded<float> logits(2, kExperts), weights(2 * kActive, 1);  // all NaN
    logits.at(1, 4) = 1.0f;
    std::vector<int32_t> chosen(2 * kActive);
    ops.route(logits.view(), {}, kActive, index_view(chosen), weights.view());
    for (size_t r = 0; r < 2; ++r) {
      for (size_t k = 0; k < kActive; ++k) {
        EXPECT_GE(chosen[r * kActive + k], k == 0 ? 0 : chosen[r * kActive + k - 1] + 1);
        EXPECT_LT(chosen[r * kActive + k], kExperts);
      }
    }
  });
}

TEST(CpuExperts, ScatterAddRows) {
  const auto reference = reference_ops();
  for (const int32_t cols : vector_straddling_sizes()) {
    Pair y(3, cols, 1), x(5, cols, 2), weights(3, 1, 3);
    std::vector<int32_t> rows = {4, 0, 2};
    Padded<double> expected = x.exact;
    reference->scatter_add_rows(y.exact.view(), index_view(rows), weights.exact.view(), expected.view());
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> own_y = y.single, out = x.single;
      ops.scatter_add_rows(own_y.view(), index_view(rows), weights.single.view(), out.view());
      expect_near(out, expected, [](int, int) { return 3 * 0x1p-24 * 2; });  // values below 2, two roundings
      ops.clear(out.view());
      for (int32_t c = 0; c < cols; ++c) ASSERT_EQ(out.at(1, c), 0.0f);
      EXPECT_TRUE(out.padding_untouched());
    });
    if (HasFailure()) return;
  }
}

ExpertWorkspace workspace(Ops& ops, int32_t rows) {
  const DType type = ops.activation_type();
  return {.rows = *ops.allocate(rows * kActive, 1, DType::kI32),
          .pairs = *ops.allocate(rows * kActive, 1, DType::kI32),
          .x = *ops.allocate(rows, kDim, type),
          .y = *ops.allocate(rows, kDim, type),
          .gate = *ops.allocate(rows, kHidden, type),
          .up = *ops.allocate(rows, kHidden, type),
          .weights = *ops.allocate(rows, 1, type)};
}

TEST(CpuExperts, AnswerAsTheOracleAndTheSameAlone) {
  constexpr int32_t kRows = 50;
  for (const Format format : {Format::kBF16, Format::kF32}) {
    std::vector<TestMatrix> matrices;
    matrices.reserve(3 * kExperts);
    std::vector<MlpWeights> experts;
    for (uint64_t e = 0; e < kExperts; ++e) {
      matrices.emplace_back(format, kHidden, kDim, 10 + e);
      matrices.emplace_back(format, kHidden, kDim, 30 + e);
      matrices.emplace_back(format, kDim, kHidden, 50 + e);
      experts.push_back({matrices[3 * e].get(), matrices[3 * e + 1].get(), matrices[3 * e + 2].get()});
    }
    Pair x(kRows, kDim, 1), logits(kRows, kExperts, 2, 3.0);
    std::vector<int32_t> chosen(kRows * kActive);
    Pair weights(kRows * kActive, 1, 3);
    const auto reference = reference_ops();
    reference->route(logits.exact.view(), {}, kActive, index_view(chosen), weights.exact.view());
    for (int32_t i = 0; i < kRows * kActive; ++i) weights.set(i, 0, static_cast<float>(weights.exact.at(i, 0)));
    Padded<double> expected(kRows, kDim);
    reference->experts(x.exact.view(), experts, index_view(chosen), weights.exact.view(), workspace(*reference, kRows),
                       expected.view());
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      for (const MlpWeights& w : experts) {
        for (QuantizedMatrix m : {w.gate, w.up, w.down}) ASSERT_TRUE(ops.prepare(m));
      }
      const ExpertWorkspace b = workspace(ops, kRows);
      Padded<float> out(kRows, kDim);
      ops.experts(x.single.view(), experts, index_view(chosen), weights.single.view(), b, out.view());
      // Sums of 37 products below 1, gelu(g) u below 37^2 in the worst case but some 20 here, again 19 of them.
      expect_near(out, expected, [](int, int) { return 1e-4; });
      for (int32_t r = 0; r < kRows; ++r) {
        std::vector<int32_t> own(chosen.begin() + r * kActive, chosen.begin() + (r + 1) * kActive);
        Padded<float> alone(1, kDim);
        ops.experts(row_range(x.single.view(), r, 1), experts, index_view(own),
                    row_range(weights.single.view(), r * kActive, kActive), b, alone.view());
        ASSERT_EQ(std::memcmp(&alone.at(0, 0), &out.at(r, 0), kDim * sizeof(float)), 0) << "row " << r;
      }
    });
  }
}

}  // namespace
}  // namespace lapidary
