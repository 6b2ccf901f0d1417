// The conformer's operations on every level against the oracle, and the oracle against answers worked out by hand.
#include "ops_testing.h"

namespace lapidary {
namespace {

TEST(ReferenceSound, ClampsSilusAndGates) {
  const auto ops = reference_ops();
  Padded<double> x(1, 4), out(1, 4), gated(1, 2);
  const double values[] = {-3, 0, 1, 5};
  for (int32_t c = 0; c < 4; ++c) x.at(0, c) = values[c];
  ops->clamp(x.view(), {.low = -1}, out.view());
  EXPECT_EQ(out.at(0, 0), -1);
  EXPECT_EQ(out.at(0, 3), 5);
  ops->clamp(x.view(), {-2, 0.5f}, out.view());
  EXPECT_EQ(out.at(0, 0), -2);
  EXPECT_EQ(out.at(0, 2), 0.5);
  ops->glu(x.view(), gated.view());  // the second half gates the first
  EXPECT_NEAR(gated.at(0, 0), -3 / (1 + std::exp(-1.0)), 1e-12);
  EXPECT_NEAR(gated.at(0, 1), 0, 1e-12);
  ops->silu(x.view());
  EXPECT_NEAR(x.at(0, 2), 1 / (1 + std::exp(-1.0)), 1e-12);
}

TEST(ReferenceSound, ConvolutionLooksBackAndDoesNotTurnTheKernel) {
  const auto ops = reference_ops();
  Padded<double> x(4, 1), out(4, 1);
  Padded<float> w(2, 1, 0);
  for (int32_t t = 0; t < 4; ++t) x.at(t, 0) = t + 1;
  w.at(0, 0) = 10;  // meets the row before
  w.at(1, 0) = 1;
  ops->causal_conv(x.view(), w.view(), out.view());
  for (int32_t t = 0; t < 4; ++t) EXPECT_EQ(out.at(t, 0), 10 * t + t + 1);
}

// A kernel with a single 1 at (channel, a, b) picks one value of the window; the picture's value says where it stood.
TEST(ReferenceSound, WindowsOfAConvolution) {
  const auto ops = reference_ops();
  constexpr int32_t kTimes = 5, kBands = 6, kChannels = 2, kHalf = 3, kWindows = 3;
  Padded<double> x(kTimes * kBands, kChannels), out(kWindows * kHalf, kChannels * 9);
  for (int32_t t = 0; t < kTimes; ++t) {
    for (int32_t f = 0; f < kBands; ++f) {
      for (int32_t c = 0; c < kChannels; ++c) x.at(t * kBands + f, c) = 1 + 100 * t + 10 * f + c;
    }
  }
  ops->unfold(x.view(), kBands, -1, out.view());
  for (int32_t t = 0; t < kWindows; ++t) {
    for (int32_t f = 0; f < kHalf; ++f) {
      for (int32_t c = 0; c < kChannels; ++c) {
        for (int32_t a = 0; a < 3; ++a) {
          for (int32_t b = 0; b < 3; ++b) {
            const int32_t time = 2 * t - 1 + a, band = 2 * f - 1 + b;
            const bool inside = time >= 0 && time < kTimes && band >= 0 && band < kBands;
            EXPECT_EQ(out.at(t * kHalf + f, c * 9 + 3 * a + b), inside ? 1 + 100 * time + 10 * band + c : 0);
          }
        }
      }
    }
  }
  Padded<double> later(kHalf, kChannels * 9);  // the last window alone, from the rows it needs
  const TensorView rest = row_range(x.view(), 3 * kBands, 2 * kBands);
  ops->unfold(rest, kBands, 0, later.view());
  for (int32_t f = 0; f < kHalf; ++f) {
    for (int32_t c = 0; c < kChannels * 9; ++c) EXPECT_EQ(later.at(f, c), out.at(2 * kHalf + f, c));
  }
}

TEST(ReferenceSound, LocalAttentionSeesTheRowAndThoseBeforeIt) {
  const auto ops = reference_ops();
  Padded<double> q(4, 1), k(4, 1), v(4, 1), distances(3, 1), out(4, 1);
  Padded<float> scale(1, 1, 0);
  scale.at(0, 0) = 2;
  for (int32_t t = 0; t < 4; ++t) {
    q.at(t, 0) = 1;
    k.at(t, 0) = t == 1 ? 0.5 : 0;
    v.at(t, 0) = std::pow(10, t);
  }
  for (int32_t d = 0; d < 3; ++d) distances.at(d, 0) = d;  // row 2 stands beyond what is in sight
  LocalAttention how{.heads = 1, .head_dim = 1, .keys = 2, .q_scale = scale.view(), .k_scale = 4, .cap = 3};
  how.distances = distances.view();
  ops->local_attention(how, q.view(), k.view(), v.view(), out.view());
  EXPECT_NEAR(out.at(0, 0), 1, 1e-12);
  // Row 2: itself scores 0; row 1 scores cap tanh(2 * (4 * 0.5 + 1) / cap).
  const double near = std::exp(3 * std::tanh(6.0 / 3));
  EXPECT_NEAR(out.at(2, 0), (100 + 10 * near) / (1 + near), 1e-9);
  const double far = std::exp(3 * std::tanh(2.0 / 3));
  EXPECT_NEAR(out.at(3, 0), (1000 + 100 * far) / (1 + far), 1e-9);
}

TEST(CpuSound, ElementwiseOperations) {
  const auto reference = reference_ops();
  std::vector<int32_t> sizes = vector_straddling_sizes();
  sizes.push_back(9001);  // several pieces of a row
  for (int32_t cols : sizes) {
    Pair x(3, cols, 1, 40.0), both(3, 2 * cols, 2, 40.0);
    x.set(1, cols / 2, std::numeric_limits<float>::quiet_NaN());
    Padded<double> clamped(3, cols), open(3, cols), silu = x.exact, gated(3, cols);
    reference->clamp(x.exact.view(), {-7.5f, 11.25f}, clamped.view());
    reference->clamp(x.exact.view(), {}, open.view());
    reference->silu(silu.view());
    reference->glu(both.exact.view(), gated.view());
    on_every_backend([&](Ops& ops, const CpuKernels&) {
      Padded<float> out(3, cols);
      const auto expect_exact = [&](Padded<double>& expected) {
        for (int32_t r = 0; r < 3; ++r) {
          for (int32_t c = 0; c < cols; ++c) {
            const double want = expected.at(r, c), got = static_cast<double>(out.at(r, c));
            ASSERT_TRUE(std::isnan(want) ? std::isnan(got) : got == want) << r << " " << c << ": " << got;
          }
        }
        EXPECT_TRUE(out.padding_untouched());
      };
      ops.clamp(x.single.view(), {-7.5f, 11.25f}, out.view());
      expect_exact(clamped);
      ops.clamp(x.single.view(), {}, out.view());
      expect_exact(open);
      out = x.single;
      ops.clamp(out.view(), {-7.5f, 11.25f}, out.view());
      expect_exact(clamped);

      // exp errs by 2 units in the last place; a sum and a quotient follow.
      out = x.single;
      ops.silu(out.view());
      EXPECT_TRUE(std::isnan(out.at(1, cols / 2)));
      out.at(1, cols / 2) = static_cast<float>(silu.at(1, cols / 2) = 0);
      expect_near(out, silu, [&](int r, int c) { return 8 * 0x1p-24 * std::abs(silu.at(r, c)); });
      Padded<float> narrow(3, cols);
      ops.glu(both.single.view(), narrow.view());
      expect_near(narrow, gated, [&](int r, int c) { return 8 * 0x1p-24 * std::abs(gated.at(r, c)); });
      silu.at(1, cols / 2) = std::numeric_limits<double>::quiet_NaN();
    });
    if (HasFailure()) return;
  }
}

TEST(CpuSound, CausalConvolution) {
  const auto reference = reference_ops();
  for (int32_t cols : {1, 7, 16, 33, 257}) {
    for (int32_t rows : {1, 2, 4, 5, 11}) {
      for (int32_t taps : {1, 5}) {
        Pair x(rows, cols, 3), w(taps, cols, 4);
        Padded<double> expected(rows, cols);
        reference->causal_conv(x.exact.view(), w.single.view(), expected.view());
        on_every_backend([&](Ops& ops, const CpuKernels&) {
          Padded<float> out(rows, cols);
          ops.causal_conv(x.single.view(), w.single.view(), out.view());
          expect_near(out, expected, [&](int, int) { return 2 * taps * 0x1p-24 * taps; });
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(CpuSound, WindowsAreExactAndDoNotDependOnThePieces) {
  const auto reference = reference_ops();
  for (int32_t channels : {1, 3, 17}) {
    for (int32_t bands : {1, 2, 5, 8}) {
      for (int32_t times : {1, 2, 3, 8}) {
        Pair x(times * bands, channels, 5);
        const int32_t half = (bands + 1) / 2, windows = (times + 1) / 2;
        Padded<double> expected(windows * half, channels * 9);
        reference->unfold(x.exact.view(), bands, -1, expected.view());
        on_every_backend([&](Ops& ops, const CpuKernels&) {
          Padded<float> out(windows * half, channels * 9);
          ops.unfold(x.single.view(), bands, -1, out.view());
          expect_near(out, expected, [](int, int) { return 0.0; });
          if (windows < 2) return;
          Padded<float> last(half, channels * 9);
          const int32_t from = 2 * (windows - 1) - 1;
          ops.unfold(row_range(x.single.view(), from * bands, (times - from) * bands), bands, 0, last.view());
          for (int32_t f = 0; f < half; ++f) {
            for (int32_t c = 0; c < channels * 9; ++c) ASSERT_EQ(last.at(f, c), out.at((windows - 1) * half + f, c));
          }
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(CpuSound, LocalAttention) {
  const auto reference = reference_ops();
  constexpr int32_t kHeads = 3;
  for (int32_t dim : {1, 8, 17, 32, 128}) {
    for (int32_t rows : {1, 5, 13, 30}) {
      for (int32_t keys : {1, 5, 12, 33}) {
        const int32_t width = kHeads * dim;
        Pair q(rows, width, 1, 3.0), k(rows, width, 2), v(rows, width, 3), distances(keys, width, 4), scale(1, dim, 5);
        LocalAttention how{.heads = kHeads, .head_dim = dim, .keys = keys, .q_scale = scale.single.view()};
        how.k_scale = 1.9f;
        how.cap = 4.0f;  // low enough to bend the scores
        how.distances = distances.exact.view();
        Padded<double> expected(rows, width);
        reference->local_attention(how, q.exact.view(), k.exact.view(), v.exact.view(), expected.view());
        how.distances = distances.single.view();
        // Scores are sums of 2 dim products of at most 3 * 2.9; what they err by shifts a weight by as much.
        const double tolerance = (2.0 * dim * 9 * (2.0 * dim / 8 + 8) + 32) * 0x1p-24;
        on_every_backend([&](Ops& ops, const CpuKernels&) {
          Padded<float> out(rows, width), in_place = q.single;
          ops.local_attention(how, q.single.view(), k.single.view(), v.single.view(), out.view());
          expect_near(out, expected, [&](int, int) { return tolerance; });
          ops.local_attention(how, in_place.view(), k.single.view(), v.single.view(), in_place.view());
          EXPECT_TRUE(in_place.same_bits(out));
        });
        if (HasFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace lapidary
