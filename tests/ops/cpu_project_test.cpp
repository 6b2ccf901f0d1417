// Products on every level against the oracle, and the same bits however they are asked for.
#include <algorithm>

#include "ops_testing.h"

namespace lapidary {
namespace {

// One element sums k products in vectors of at least 4 lanes: k / 4 additions (and, without fused multiply-add, as many
// product roundings), 3 to fold the lanes, one for the matrix's factor. With bf16 activations x moves by half of 2^-8.
double tolerance(int32_t k, bool rounded_x, double abs_dot) {
  const double sums = (k / 2.0 + 8) * 0x1p-24;
  return (sums + (rounded_x ? 0x1p-9 : 0.0)) * abs_dot + 1e-35;
}

double abs_dot(const std::vector<float>& w, Padded<float>& x, int32_t r) {
  double total = 0;
  for (size_t i = 0; i < w.size(); ++i) total += std::abs(static_cast<double>(w[i]) * x.at(r, static_cast<int32_t>(i)));
  return total;
}

void check_product(Format format, Precision precision, int32_t rows, int32_t in, int32_t out) {
  SCOPED_TRACE(testing::Message() << format_info(format).name << (precision == Precision::kFast ? " fast" : " full")
                                  << " rows " << rows << " in " << in << " out " << out);
  const auto reference = reference_ops();
  TestMatrix w(format, out, in, 11, 0.75f);
  Pair x(rows, in, 12);
  Padded<double> expected(rows, out);
  const QuantizedMatrix* matrix = &w.get();
  reference->project(x.exact.view(), std::span(&matrix, 1), std::array{expected.view()});
  std::vector<double> bound(static_cast<size_t>(rows) * static_cast<size_t>(out));
  for (int32_t o = 0; o < out; ++o) {
    const std::vector<float> row = w.row(o);
    for (int32_t r = 0; r < rows; ++r) bound[static_cast<size_t>(r * out + o)] = abs_dot(row, x.single, r);
  }
  on_every_backend(precision, DType::kBF16, [&](Ops& ops, const CpuKernels& level) {
    const bool rounded = precision == Precision::kFast && format == Format::kBF16 && level.tile_bf16_pairs.present();
    ASSERT_TRUE(ops.prepare(w.get()).has_value());
    Padded<float> y(rows, out);
    ops.project(x.single.view(), std::span(&matrix, 1), std::array{y.view()});
    expect_near(y, expected,
                [&](int r, int c) { return tolerance(in, rounded, bound[static_cast<size_t>(r * out + c)]); });
  });
}

TEST(CpuProject, SizesAroundVectorsAndTiles) {
  for (Format format : {Format::kF32, Format::kBF16, Format::kF16}) {
    for (Precision precision : {Precision::kFast, Precision::kFull}) {
      for (int32_t in : vector_straddling_sizes()) {
        check_product(format, precision, 1, in, 9);
        check_product(format, precision, 7, in, 6);
        if (HasFailure()) return;
      }
      for (int32_t out : {1, 2, 3, 4, 5, 31, 32, 33, 65}) {
        check_product(format, precision, 2, 40, out);
        check_product(format, precision, 19, 40, out);
        if (HasFailure()) return;
      }
      for (int32_t rows : {3, 4, 5, 6, 8, 11, 12, 13, 17, 33, 119, 121, 130}) {
        check_product(format, precision, rows, 70, 7);
        if (HasFailure()) return;
      }
      // Several pieces of the input dimension, the last one short.
      for (int32_t in : {1023, 1025, 2047, 2050, 4500}) {
        check_product(format, precision, 2, in, 5);
        check_product(format, precision, 26, in, 5);
        if (HasFailure()) return;
      }
    }
  }
}

// The promise: a row's result is the same bits alone, among others, at any place, with any number of threads, and next
// to other matrices.
TEST(CpuProject, SameBitsHoweverManyRowsThreadsAndMatrices) {
  constexpr int32_t kRows = 131;
  for (Format format : {Format::kF32, Format::kBF16, Format::kF16}) {
    for (Precision precision : {Precision::kFast, Precision::kFull}) {
      for (int32_t in : {33, 2500}) {
        TestMatrix first(format, 37, in, 21), second(Format::kF32, 5, in, 22), third(Format::kBF16, 3, in, 23);
        Pair x(kRows, in, 24);
        for (const CpuKernels* level : available_levels()) {
          SCOPED_TRACE(testing::Message() << level->name << " " << format_info(format).name << " in " << in);
          Padded<float> whole(kRows, 37);
          const auto one = cpu_ops(*level, 1, precision);
          const QuantizedMatrix* alone[] = {&first.get()};
          one->project(x.single.view(), alone, std::array{whole.view()});
          for (int32_t threads : {1, 2, 3}) {
            const auto ops = cpu_ops(*level, threads, precision);
            for (int32_t piece : {1, 2, 5, 6, 7, 13, 40, 131}) {
              Padded<float> y(kRows, 37, 2), y2(kRows, 5), y3(kRows, 3);
              const QuantizedMatrix* all[] = {&second.get(), &first.get(), &third.get()};
              // Short pieces: some of them, spread over the rows.
              const int32_t step = std::max(piece, 23);
              for (int32_t r = 0; r < kRows; r += step) {
                const int32_t rows = std::min(piece, kRows - r);
                ops->project(row_range(x.single.view(), r, rows), all,
                             std::array{row_range(y2.view(), r, rows), row_range(y.view(), r, rows),
                                        row_range(y3.view(), r, rows)});
              }
              for (int32_t r = 0; r < kRows; ++r) {
                if (r % step >= piece) continue;
                ASSERT_EQ(std::memcmp(&y.at(r, 0), &whole.at(r, 0), 37 * sizeof(float)), 0)
                    << "row " << r << ", " << threads << " threads, pieces of " << piece;
              }
              ASSERT_TRUE(y.padding_untouched());
            }
          }
        }
      }
    }
  }
}

// The bytes of a file lie anywhere: the same matrix at another address gives the same bits.
TEST(CpuProject, SameBitsAtAnyAlignment) {
  constexpr int32_t kIn = 130, kOut = 9;
  TestMatrix w(Format::kBF16, kOut, kIn, 31);
  Pair x(14, kIn, 32);
  for (const CpuKernels* level : available_levels()) {
    const auto ops = cpu_ops(*level, 2, Precision::kFast);
    Padded<float> expected(14, kOut);
    const QuantizedMatrix* matrix = &w.get();
    ops->project(x.single.view(), std::span(&matrix, 1), std::array{expected.view()});
    for (size_t shift = 0; shift < 64; shift += 3) {
      std::vector<std::byte> bytes(w.get().blocks.size() + 64);
      std::copy(w.get().blocks.begin(), w.get().blocks.end(), bytes.begin() + static_cast<std::ptrdiff_t>(shift));
      QuantizedMatrix moved = w.get();
      moved.blocks = std::span(bytes).subspan(shift, w.get().blocks.size());
      Padded<float> y(14, kOut);
      const QuantizedMatrix* pointer = &moved;
      ops->project(x.single.view(), std::span(&pointer, 1), std::array{y.view()});
      ASSERT_TRUE(y.same_bits(expected)) << level->name << " shift " << shift;
    }
  }
}

TEST(CpuProject, NoRowsIsNothing) {
  TestMatrix w(Format::kBF16, 4, 8, 1);
  const QuantizedMatrix* matrix = &w.get();
  Padded<float> x(1, 8), y(1, 4);
  const auto ops = cpu_ops(*available_levels().back(), 2);
  ops->project(row_range(x.view(), 0, 0), std::span(&matrix, 1), std::array{row_range(y.view(), 0, 0)});
  EXPECT_TRUE(std::isnan(y.at(0, 0)));
}

}  // namespace
}  // namespace lapidary
