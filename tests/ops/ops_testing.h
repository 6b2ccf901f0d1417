// What the tests of a backend share: inputs whose padding is poisoned, the same values for the backend and for the
// oracle, and every level with one, two and three threads.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/reference/reference_ops.h"

namespace lapidary {

// Rows of T with padding between them; everything is NaN until it is set.
template <class T>
class Padded {
 public:
  Padded(int32_t rows, int32_t cols, int32_t padding = 5)
      : rows_(rows),
        cols_(cols),
        stride_(cols + padding),
        data_(static_cast<size_t>(rows) * static_cast<size_t>(cols + padding), std::numeric_limits<T>::quiet_NaN()) {}

  TensorView view() {
    return {data_.data(), rows_, cols_, stride_, sizeof(T) == 8 ? DType::kF64 : DType::kF32, Space::kHost};
  }
  T& at(int32_t r, int32_t c) {
    return data_[static_cast<size_t>(r) * static_cast<size_t>(stride_) + static_cast<size_t>(c)];
  }
  int32_t rows() const { return rows_; }
  int32_t cols() const { return cols_; }

  // Nothing was written between the rows.
  bool padding_untouched() {
    for (int32_t r = 0; r < rows_; ++r) {
      for (int32_t c = cols_; c < stride_; ++c) {
        if (!std::isnan(at(r, c))) return false;
      }
    }
    return true;
  }
  bool same_bits(Padded& other) {
    if (rows_ != other.rows_ || cols_ != other.cols_) return false;
    for (int32_t r = 0; r < rows_; ++r) {
      if (std::memcmp(&at(r, 0), &other.at(r, 0), static_cast<size_t>(cols_) * sizeof(T)) != 0) return false;
    }
    return true;
  }

 private:
  int32_t rows_, cols_, stride_;
  std::vector<T> data_;
};

// The same values in both types. Uniform in (-scale, scale).
struct Pair {
  Pair(int32_t rows, int32_t cols, uint64_t seed, double scale = 1.0) : single(rows, cols), exact(rows, cols) {
    for (int32_t r = 0; r < rows; ++r) {
      for (int32_t c = 0; c < cols; ++c) {
        set(r, c,
            static_cast<float>((uniform_open(seed, static_cast<uint64_t>(r), static_cast<uint64_t>(c)) * 2 - 1) *
                               scale));
      }
    }
  }
  void set(int32_t r, int32_t c, float value) {
    single.at(r, c) = value;
    exact.at(r, c) = static_cast<double>(value);
  }
  Padded<float> single;
  Padded<double> exact;
};

// A matrix in a format, its bytes at an odd address.
class TestMatrix {
 public:
  TestMatrix(Format format, int32_t out, int32_t in, uint64_t seed, float scale = 1.0f) {
    const int64_t bytes = row_bytes(format, in);
    bytes_.resize(static_cast<size_t>(out * bytes) + 1);
    std::vector<float> row(static_cast<size_t>(in));
    for (int32_t o = 0; o < out; ++o) {
      for (int32_t i = 0; i < in; ++i) {
        row[static_cast<size_t>(i)] =
            static_cast<float>(uniform_open(seed, static_cast<uint64_t>(o), static_cast<uint64_t>(i)) * 2 - 1);
      }
      format_info(format).encode(row.data(), in, bytes_.data() + 1 + o * bytes);
    }
    matrix_ = {.format = format, .out = out, .in = in, .scale = scale, .blocks = std::span(bytes_).subspan(1)};
  }
  QuantizedMatrix& get() { return matrix_; }
  std::vector<float> row(int32_t o) const {
    std::vector<float> values(static_cast<size_t>(matrix_.in));
    format_info(matrix_.format).decode(matrix_.row(o), matrix_.in, values.data());
    for (float& v : values) v *= matrix_.scale;
    return values;
  }

 private:
  std::vector<std::byte> bytes_;
  QuantizedMatrix matrix_;
};

inline std::unique_ptr<Ops> reference_ops(DType kv_type = DType::kBF16) {
  return std::move(*make_reference_ops({.kv_type = kv_type}));
}

inline std::unique_ptr<Ops> cpu_ops(const CpuKernels& level, int32_t threads, Precision precision = Precision::kFull,
                                    DType kv_type = DType::kBF16) {
  auto made = make_cpu_ops({.threads = threads, .precision = precision, .kv_type = kv_type}, level);
  EXPECT_TRUE(made.has_value());
  return std::move(*made);
}

// body(ops, name) on every level this processor has, with one, two and three threads.
template <class Body>
void on_every_backend(Precision precision, DType kv_type, Body body) {
  for (const CpuKernels* level : available_levels()) {
    for (int32_t threads : {1, 2, 3}) {
      const std::unique_ptr<Ops> ops = cpu_ops(*level, threads, precision, kv_type);
      SCOPED_TRACE(ops->description());
      body(*ops, *level);
      if (testing::Test::HasFailure()) return;
    }
  }
}

template <class Body>
void on_every_backend(Body body) {
  on_every_backend(Precision::kFull, DType::kBF16, body);
}

// |got - expected| <= tolerance(r, c), everywhere; reports the first that is not.
template <class Tolerance>
void expect_near(Padded<float>& got, Padded<double>& expected, Tolerance tolerance) {
  ASSERT_EQ(got.rows(), expected.rows());
  ASSERT_EQ(got.cols(), expected.cols());
  for (int32_t r = 0; r < got.rows(); ++r) {
    for (int32_t c = 0; c < got.cols(); ++c) {
      // NaN compares false, so it fails too.
      ASSERT_TRUE(std::abs(static_cast<double>(got.at(r, c)) - expected.at(r, c)) <= tolerance(r, c))
          << "row " << r << " col " << c << ": " << got.at(r, c) << ", expected " << expected.at(r, c) << " within "
          << tolerance(r, c);
    }
  }
  EXPECT_TRUE(got.padding_untouched());
}

inline TensorView index_view(std::vector<int32_t>& ids) {
  return {ids.data(), static_cast<int32_t>(ids.size()), 1, 1, DType::kI32, Space::kHost};
}

inline const std::vector<int32_t>& vector_straddling_sizes() {
  static const std::vector<int32_t> sizes = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000};
  return sizes;
}

}  // namespace lapidary
