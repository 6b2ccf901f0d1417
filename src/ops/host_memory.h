// Memory of the backends that run on the processor: zeroed, never moved, given back all at once; and the conversions
// between f32 values and a view of any float type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/view.h"

namespace lapidary {

class HostMemory {
 public:
  HostMemory() = default;
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  // bytes zeroed bytes at a page boundary, huge pages where the system has them. `what` names the memory in an error.
  // Errors: kExhausted with the bytes asked for.
  Result<std::byte*> reserve(int64_t bytes, std::string_view what);

  // A zeroed [rows, cols] view, stride = cols. Errors: kInvalidArgument for a negative shape, kExhausted.
  Result<TensorView> allocate(int32_t rows, int32_t cols, DType type);

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  std::vector<Block> blocks_;
};

// values.size() == x.rows * x.cols; x.dtype is kF32, kF64, kBF16 or kF16. Row by row: padding is not touched.
void write_floats(std::span<const float> values, TensorView x);
void read_floats(TensorView x, std::span<float> values);
// ids.size() == x.rows; x is [rows, 1] kI32.
void write_int32s(std::span<const int32_t> ids, TensorView x);
void read_int32s(TensorView x, std::span<int32_t> ids);

}  // namespace lapidary
