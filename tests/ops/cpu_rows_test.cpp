// Norms, rotations and element-wise operations on every level against the oracle.
#include "ops_testing.h"

namespace lapidary {
namespace {

constexpr int32_t kRows = 3;
constexpr float kEps = 1e-6f;

// A sum of n squares in vectors: at most n / 4 + 8 roundings of 2^-24, halved by the root; then 3 products.
double norm_tolerance(int32_t cols) { return (cols / 4.0 + 16) * 0x1p-24; }

TEST(CpuRows, RmsNormAndItsFusedAddition) {
  const auto reference = reference_ops();
  for (int32_t cols : vector_straddling_sizes()) {
    Pair x(kRows, cols, 1), w(1, cols, 2), h(kRows, cols, 3);
    Padded<double> expected(kRows, cols), plain(kRows, cols);
    reference->rms_norm(x.exact.view(), w.single.view(), kEps, expected.view());
    reference->rms_norm(x.exact.view(), {}, kEps, plain.view());
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> out(kRows, cols);
      ops.rms_norm(x.single.view(), w.single.view(), kEps, out.view());
      expect_near(out, expected, [&](int r, int c) { return norm_tolerance(cols) * std::abs(expected.at(r, c)); });
      ops.rms_norm(x.single.view(), {}, kEps, out.view());
      expect_near(out, plain, [&](int r, int c) { return norm_tolerance(cols) * std::abs(plain.at(r, c)); });

      // The fused addition is the spelled-out one, bit for bit.
      Pair fused(kRows, cols, 4), spelled(kRows, cols, 4);
      Padded<float> normed(kRows, cols);
      ops.add_rms_norm(h.single.view(), w.single.view(), kEps, fused.single.view());
      ops.rms_norm(h.single.view(), w.single.view(), kEps, normed.view());
      ops.add(normed.view(), spelled.single.view());
      EXPECT_TRUE(fused.single.same_bits(spelled.single)) << cols;
    });
    if (HasFailure()) return;
  }
}

TEST(CpuRows, NormInPlaceIsTheSame) {
  on_every_backend([&](Ops& ops, const CpuKernels&) {
    Pair x(kRows, 77, 1);
    Padded<float> out(kRows, 77);
    ops.rms_norm(x.single.view(), {}, kEps, out.view());
    ops.rms_norm(x.single.view(), {}, kEps, x.single.view());
    EXPECT_TRUE(out.same_bits(x.single));
  });
}

TEST(CpuRows, LayerNorm) {
  const auto reference = reference_ops();
  for (int32_t cols : vector_straddling_sizes()) {
    Pair x(kRows, cols, 1), w(1, cols, 2), b(1, cols, 3);
    for (int32_t c = 0; c < cols; ++c) {
      for (int32_t r = 0; r < kRows; ++r) x.set(r, c, x.single.at(r, c) + 2.0f);  // a mean that must be removed
    }
    Padded<double> expected(kRows, cols), plain(kRows, cols);
    reference->layer_norm(x.exact.view(), w.single.view(), b.single.view(), 1e-5f, expected.view());
    reference->layer_norm(x.exact.view(), {}, {}, 1e-5f, plain.view());
    // The mean, of magnitude 2, errs by norm_tolerance; dividing by the deviation (above 0.003 = sqrt(eps), where a
    // single column has none) enlarges that. Weights and bias are at most 1.
    const auto tolerance = [&](int r, int) {
      double mean = 0, squares = 0;
      for (int32_t c = 0; c < cols; ++c) mean += x.exact.at(r, c) / cols;
      for (int32_t c = 0; c < cols; ++c) squares += std::pow(x.exact.at(r, c) - mean, 2) / cols;
      return norm_tolerance(cols) * (3 / std::sqrt(squares + 1e-5) + 3) * 2;
    };
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> out(kRows, cols);
      ops.layer_norm(x.single.view(), w.single.view(), b.single.view(), 1e-5f, out.view());
      expect_near(out, expected, tolerance);
      ops.layer_norm(x.single.view(), {}, {}, 1e-5f, out.view());
      expect_near(out, plain, tolerance);
    });
    if (HasFailure()) return;
  }
}

TEST(CpuRows, NormRope) {
  const auto reference = reference_ops();
  std::vector<int32_t> positions = {0, 5, 131071};
  for (int32_t dim : {2, 6, 16, 18, 32, 34, 64, 128, 256, 512}) {
    for (float fraction : {1.0f, 0.25f, 0.5f}) {
      const RopeSpec rope{.theta = 10000, .rotary_fraction = fraction};
      constexpr int32_t kHeads = 2;
      Pair heads(kRows * kHeads, dim, 5), w(1, dim, 6);
      Padded<double> expected = heads.exact;
      reference->norm_rope(expected.view(), w.single.view(), kEps, rope, index_view(positions));
      on_every_backend([&](Ops& ops, const CpuKernels&) {
        Padded<float> out = heads.single;
        ops.norm_rope(out.view(), w.single.view(), kEps, rope, index_view(positions));
        // Normed values are below sqrt(dim); two of them meet in a turn, with 3 more roundings.
        expect_near(out, expected, [&](int, int) { return (norm_tolerance(dim) + 3 * 0x1p-24) * 2 * std::sqrt(dim); });

        // One row alone, and another set of positions in between: the same bits.
        std::vector<int32_t> last = {positions[2]};
        Padded<float> alone(kHeads, dim), again = heads.single;
        for (int32_t h = 0; h < kHeads; ++h) {
          for (int32_t c = 0; c < dim; ++c) alone.at(h, c) = heads.single.at(2 * kHeads + h, c);
        }
        ops.norm_rope(alone.view(), w.single.view(), kEps, rope, index_view(last));
        ops.norm_rope(again.view(), w.single.view(), kEps, rope, index_view(positions));
        EXPECT_TRUE(again.same_bits(out));
        for (int32_t h = 0; h < kHeads; ++h) {
          EXPECT_EQ(std::memcmp(&alone.at(h, 0), &out.at(2 * kHeads + h, 0), static_cast<size_t>(dim) * 4), 0);
        }
      });
      if (HasFailure()) return;
    }
  }
}

TEST(CpuRows, ElementwiseOperations) {
  const auto reference = reference_ops();
  std::vector<int32_t> sizes = vector_straddling_sizes();
  sizes.push_back(9001);  // several pieces of a row
  for (int32_t cols : sizes) {
    Pair x(kRows, cols, 1, 4.0), y(kRows, cols, 2, 4.0), b(1, cols, 3);
    Padded<double> gelu(kRows, cols), capped = x.exact, sum = x.exact;
    reference->gelu_mul(x.exact.view(), y.exact.view(), gelu.view());
    reference->softcap(2.5f, capped.view());
    reference->add(y.exact.view(), sum.view());
    reference->add_bias(b.single.view(), sum.view());
    reference->scale(0.7f, sum.view());
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> out(kRows, cols);
      ops.gelu_mul(x.single.view(), y.single.view(), out.view());
      // |x| < 4: the exponent is below 12, so 5 * 12 + 9 roundings (see the kernels' own test).
      expect_near(out, gelu, [&](int r, int c) { return 70 * 0x1p-24 * std::abs(gelu.at(r, c)); });
      Padded<float> in_place = x.single;
      ops.gelu_mul(in_place.view(), y.single.view(), in_place.view());
      EXPECT_TRUE(in_place.same_bits(out));

      Padded<float> cap = x.single;
      ops.softcap(2.5f, cap.view());
      expect_near(cap, capped, [&](int r, int c) { return 10 * 0x1p-24 * std::abs(capped.at(r, c)); });

      Padded<float> total = x.single;
      ops.add(y.single.view(), total.view());
      ops.add_bias(b.single.view(), total.view());
      ops.scale(0.7f, total.view());
      expect_near(total, sum, [&](int, int) { return 3 * 0x1p-24 * 9; });
      Padded<float> copied(kRows, cols);
      ops.copy(total.view(), copied.view());
      EXPECT_TRUE(copied.same_bits(total));
      EXPECT_TRUE(copied.padding_untouched());
    });
    if (HasFailure()) return;
  }
}

TEST(CpuRows, TablesAndIndices) {
  const auto reference = reference_ops();
  for (Format format : {Format::kF32, Format::kBF16, Format::kF16}) {
    for (int32_t cols : vector_straddling_sizes()) {
      TestMatrix table(format, 11, cols, 8, 1.5f);
      std::vector<int32_t> ids = {10, 0, 3}, rows = {2, 0, 1, 1};
      Padded<double> expected(kRows, cols);
      reference->embed(index_view(ids), table.get(), 3.25f, expected.view());
      reference->add_rows(table.get(), index_view(ids), expected.view());
      on_every_backend([&](Ops& ops, const CpuKernels&) {
        Padded<float> x(kRows, cols);
        ops.embed(index_view(ids), table.get(), 3.25f, x.view());
        ops.add_rows(table.get(), index_view(ids), x.view());
        expect_near(x, expected, [&](int r, int c) { return 4 * 0x1p-24 * std::abs(expected.at(r, c)); });
        Padded<float> gathered(4, cols);
        ops.gather_rows(x.view(), index_view(rows), gathered.view());
        for (int32_t i = 0; i < 4; ++i) {
          for (int32_t c = 0; c < cols; ++c) ASSERT_EQ(gathered.at(i, c), x.at(rows[static_cast<size_t>(i)], c));
        }
        EXPECT_TRUE(gathered.padding_untouched());
      });
      if (HasFailure()) return;
    }
  }
}

TEST(CpuRows, WriteAndReadConvertRowByRow) {
  const auto ops = cpu_ops(*available_levels().back(), 1);
  for (DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kF64}) {
    TensorView x = *ops->allocate(2, 8, type);
    x.cols = 3;  // padding stays zero
    ops->write(std::vector<float>{1, -2, 0.5, 4, 8, -16}, x);
    std::vector<float> back(6), all(16);
    ops->read(x, back);
    EXPECT_EQ(back, (std::vector<float>{1, -2, 0.5, 4, 8, -16}));
    x.cols = 8;
    ops->read(x, all);
    EXPECT_EQ(all, (std::vector<float>{1, -2, 0.5, 0, 0, 0, 0, 0, 4, 8, -16, 0, 0, 0, 0, 0}));
  }
}

}  // namespace
}  // namespace lapidary
