// TensorView: a borrowed window over rows of a row-major matrix. Never owns; passed by value.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/dtype.h"

namespace lapidary {

enum class Space : uint8_t { kHost, kDevice };

struct TensorView {
  void* data = nullptr;
  int32_t rows = 0, cols = 0, stride = 0;  // stride: elements from one row to the next, >= cols
  DType dtype = DType::kF32;
  Space space = Space::kHost;

  bool empty() const { return data == nullptr || rows == 0 || cols == 0; }

  // Row r as T; the caller knows the dtype.
  template <class T>
  T* row(int64_t r) const {
    return static_cast<T*>(data) + r * stride;
  }
};

// [rows, n * head_dim] -> [rows * n, head_dim], the same memory. The heads of a row must be contiguous with the next
// row.
inline TensorView split_heads(TensorView x, int32_t head_dim) {
  CHECK(x.cols % head_dim == 0 && x.stride == x.cols);
  return {x.data, x.rows * (x.cols / head_dim), head_dim, head_dim, x.dtype, x.space};
}

// Rows [begin, begin + rows) of x.
inline TensorView row_range(TensorView x, int32_t begin, int32_t rows) {
  CHECK(begin >= 0 && rows >= 0 && begin + rows <= x.rows);
  x.data = static_cast<std::byte*>(x.data) + static_cast<int64_t>(begin) * x.stride * dtype_bytes(x.dtype);
  x.rows = rows;
  return x;
}

// The first cols columns of the first rows rows, packed with stride = cols: a workspace buffer used at a smaller size.
inline TensorView packed(TensorView x, int32_t rows, int32_t cols) {
  CHECK(static_cast<int64_t>(rows) * cols <= static_cast<int64_t>(x.rows) * x.stride);
  x.rows = rows;
  x.cols = x.stride = cols;
  return x;
}

// A host array as a [rows, cols] f32 view.
inline TensorView host_view(const float* data, int32_t rows, int32_t cols) {
  return {const_cast<float*>(data), rows, cols, cols, DType::kF32, Space::kHost};
}

}  // namespace lapidary
