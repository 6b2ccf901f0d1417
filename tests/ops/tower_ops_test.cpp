// What a vision tower needs beside the decoder's operations: factors per column, means of rows, rotation by two
// coordinates, attention without a mask. The oracle against formulas written out here, every level against the oracle.
#include <algorithm>
#include <array>

#include "ops_testing.h"

namespace lapidary {
namespace {

constexpr int32_t kRows = 3;
constexpr float kEps = 1e-6f;

TEST(TowerOps, ScaleColumns) {
  const auto reference = reference_ops();
  std::vector<int32_t> sizes = vector_straddling_sizes();
  sizes.push_back(9001);
  for (int32_t cols : sizes) {
    Pair x(kRows, cols, 1, 4.0), w(1, cols, 2, 3.0);
    Padded<double> expected = x.exact;
    reference->scale_columns(w.single.view(), expected.view());
    ASSERT_EQ(expected.at(2, cols - 1), x.exact.at(2, cols - 1) * w.exact.at(0, cols - 1));
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> out = x.single;
      ops.scale_columns(w.single.view(), out.view());
      expect_near(out, expected, [&](int r, int c) { return 0x1p-24 * std::abs(expected.at(r, c)); });
    });
    if (HasFailure()) return;
  }
}

TEST(TowerOps, MeanRowsAveragesTheRowsNamed) {
  const auto reference = reference_ops();
  std::vector<int32_t> rows = {4, 0, 1, 1, 6, 5, 2, 2, 2};  // three rows of three: any order, any row more than once
  for (int32_t cols : vector_straddling_sizes()) {
    Pair x(7, cols, 1, 4.0);
    Padded<double> expected(3, cols), all(1, cols);
    reference->mean_rows(x.exact.view(), index_view(rows), expected.view());
    reference->mean_rows(x.exact.view(), index_view(rows), all.view());
    ASSERT_NEAR(expected.at(1, 0), (x.exact.at(1, 0) + x.exact.at(6, 0) + x.exact.at(5, 0)) / 3, 1e-15);
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> out(3, cols), one(1, cols);
      ops.mean_rows(x.single.view(), index_view(rows), out.view());
      ops.mean_rows(x.single.view(), index_view(rows), one.view());
      // Sums of up to nine values below 4.
      expect_near(out, expected, [](int, int) { return 4 * 0x1p-24 * 4; });
      expect_near(one, all, [](int, int) { return 9 * 0x1p-24 * 4; });
    });
    if (HasFailure()) return;
  }
}

TEST(TowerOps, NormRope2dTurnsTheFirstHalfByXAndTheSecondByY) {
  const auto reference = reference_ops();
  std::vector<int32_t> xs = {0, 7, 3359}, ys = {2, 0, 41};
  constexpr int32_t kHeads = 2;
  for (int32_t dim : {4, 8, 16, 20, 36, 64, 72, 80}) {
    Pair heads(kRows * kHeads, dim, 5), w(1, dim, 6);
    Padded<double> expected = heads.exact;
    reference->norm_rope_2d(expected.view(), w.single.view(), kEps, 100.0f, index_view(xs), index_view(ys));
    // The formula once more, in another arrangement: one complex number a pair.
    for (int32_t h = 0; h < kRows * kHeads; ++h) {
      double squares = 0;
      for (int32_t c = 0; c < dim; ++c) squares += heads.exact.at(h, c) * heads.exact.at(h, c) / dim;
      for (int32_t c = 0; c < dim; ++c) {
        const int32_t half = dim / 2, quarter = dim / 4, in_half = c % half, pair = in_half % quarter;
        const int32_t position = (c < half ? xs : ys)[static_cast<size_t>(h / kHeads)];
        const double angle = position * std::pow(100.0, -2.0 * pair / half);
        const auto normed = [&](int32_t at) {
          return heads.exact.at(h, at) * w.exact.at(0, at) / std::sqrt(squares + kEps);
        };
        const double first = normed(c - in_half + pair), second = normed(c - in_half + pair + quarter);
        const double want = in_half < quarter ? first * std::cos(angle) - second * std::sin(angle)
                                              : second * std::cos(angle) + first * std::sin(angle);
        // The reference rounds the frequency and the angle to f32: up to 3359 * 2^-23.
        ASSERT_NEAR(expected.at(h, c), want, 1e-3) << dim << " " << h << " " << c;
      }
    }
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> out = heads.single, again = heads.single, alone(kHeads, dim);
      ops.norm_rope_2d(out.view(), w.single.view(), kEps, 100.0f, index_view(xs), index_view(ys));
      const double tolerance = (dim / 4.0 + 16 + 3) * 0x1p-24 * 2 * std::sqrt(dim);
      expect_near(out, expected, [&](int, int) { return tolerance; });
      // A row alone, before coordinates beyond its own were ever seen: the same bits.
      std::vector<int32_t> x = {xs[1]}, y = {ys[1]};
      for (int32_t h = 0; h < kHeads; ++h) {
        for (int32_t c = 0; c < dim; ++c) alone.at(h, c) = heads.single.at(kHeads + h, c);
      }
      ops.norm_rope_2d(alone.view(), w.single.view(), kEps, 100.0f, index_view(x), index_view(y));
      ops.norm_rope_2d(again.view(), w.single.view(), kEps, 100.0f, index_view(xs), index_view(ys));
      EXPECT_TRUE(again.same_bits(out));
      for (int32_t h = 0; h < kHeads; ++h) {
        EXPECT_EQ(std::memcmp(&alone.at(h, 0), &out.at(kHeads + h, 0), static_cast<size_t>(dim) * 4), 0);
      }
    });
    if (HasFailure()) return;
  }
}

TEST(TowerOps, AttendAllSeesEveryRowForwardAndBack) {
  const auto reference = reference_ops();
  struct Case {
    int32_t rows, heads, dim;
  };
  // Around a task's 48 queries, blocks of 32 and 64 keys, a chunk of 512, and odd head sizes.
  for (const Case& c :
       {Case{1, 1, 1}, Case{2, 3, 4}, Case{5, 1, 17}, Case{31, 2, 8}, Case{33, 1, 64}, Case{47, 2, 16}, Case{49, 1, 72},
        Case{65, 2, 20}, Case{96, 3, 33}, Case{511, 1, 8}, Case{513, 2, 12}, Case{1100, 1, 20}}) {
    SCOPED_TRACE(::testing::Message() << c.rows << " rows, " << c.heads << " heads of " << c.dim);
    const int32_t cols = c.heads * c.dim;
    Pair q(c.rows, cols, 1, 3.0 / std::sqrt(c.dim)), k(c.rows, cols, 2, 3.0), v(c.rows, cols, 3, 2.0);
    Padded<double> expected(c.rows, cols);
    reference->attend_all(q.exact.view(), k.exact.view(), v.exact.view(), c.dim, expected.view());
    // The oracle itself at one element: the last head's last value of the first row, whose keys all follow it.
    double total = 0, sum = 0;
    for (int32_t p = 0; p < c.rows; ++p) {
      double score = 0;
      for (int32_t d = cols - c.dim; d < cols; ++d) score += q.exact.at(0, d) * k.exact.at(p, d);
      total += std::exp(score);
      sum += std::exp(score) * v.exact.at(p, cols - 1);
    }
    ASSERT_NEAR(expected.at(0, cols - 1), sum / total, 1e-12);
    // A score sums dim products below 9 / sqrt(dim), one after the other: it errs by at most dim roundings of 9
    // sqrt(dim), which is how much a weight errs relatively; the weighted sum adds rows / 32 + 64 roundings. Values are
    // below 2.
    const double tolerance = (2 * c.dim * 9 * std::sqrt(c.dim) + c.rows / 32.0 + 64) * 0x1p-24 * 2;
    std::unique_ptr<Padded<float>> first;
    const CpuKernels* first_level = nullptr;
    on_every_backend([&](Ops& ops, const CpuKernels& level) {
      Padded<float> out(c.rows, cols);
      ops.attend_all(q.single.view(), k.single.view(), v.single.view(), c.dim, out.view());
      expect_near(out, expected, [&](int, int) { return tolerance; });
      Padded<float> in_place = q.single;
      ops.attend_all(in_place.view(), k.single.view(), v.single.view(), c.dim, in_place.view());
      EXPECT_TRUE(in_place.same_bits(out));
      // The same bits on any number of threads.
      if (first_level != &level) {
        first = std::make_unique<Padded<float>>(out);
        first_level = &level;
      }
      EXPECT_TRUE(first->same_bits(out));
    });
    if (HasFailure()) return;
  }
}

// More than fits into one round of heads laid out side by side: 16 MiB of K and V.
TEST(TowerOps, AttendAllInSeveralRoundsOfHeads) {
  constexpr int32_t kManyRows = 2200, kHeads = 3, kDim = 520;
  Pair q(kManyRows, kHeads * kDim, 1, 0.1), k(kManyRows, kHeads * kDim, 2), v(kManyRows, kHeads * kDim, 3);
  const auto ops = cpu_ops(*available_levels().back(), 2);
  Padded<float> together(kManyRows, kHeads * kDim), apart(kManyRows, kHeads * kDim);
  ops->attend_all(q.single.view(), k.single.view(), v.single.view(), kDim, together.view());
  const auto head = [](Padded<float>& x, int32_t h) {
    TensorView view = x.view();
    view.data = view.row<float>(0) + h * kDim;
    view.cols = kDim;
    return view;
  };
  for (int32_t h = 0; h < kHeads; ++h) {
    ops->attend_all(head(q.single, h), head(k.single, h), head(v.single, h), kDim, head(apart, h));
  }
  EXPECT_TRUE(together.same_bits(apart));
}

}  // namespace
}  // namespace lapidary
