// Columns of a view: parts of a row that lie beside each other.
#pragma once

#include "base/view.h"

namespace lapidary {

// Columns [first, first + cols) of x.
inline TensorView column_range(TensorView x, int32_t first, int32_t cols) {
  CHECK(first >= 0 && cols >= 0 && first + cols <= x.cols);
  x.data = static_cast<std::byte*>(x.data) + static_cast<int64_t>(first) * dtype_bytes(x.dtype);
  x.cols = cols;
  return x;
}

}  // namespace lapidary
