#include "ops/host_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/check.h"

namespace lapidary {
namespace {

constexpr int64_t kHugePageBytes = 2 << 20;

template <class T, class Convert>
void write_as(std::span<const float> values, TensorView x, Convert convert) {
  for (int32_t r = 0; r < x.rows; ++r) {
    const float* from = values.data() + static_cast<int64_t>(r) * x.cols;
    std::transform(from, from + x.cols, x.row<T>(r), convert);
  }
}

template <class T, class Convert>
void read_as(TensorView x, std::span<float> values, Convert convert) {
  for (int32_t r = 0; r < x.rows; ++r) {
    const T* from = x.row<T>(r);
    std::transform(from, from + x.cols, values.data() + static_cast<int64_t>(r) * x.cols, convert);
  }
}

}  // namespace

HostMemory::~HostMemory() {
  for (const Block& block : blocks_) munmap(block.data, block.bytes);
}

Result<std::byte*> HostMemory::reserve(int64_t bytes, std::string_view what) {
  CHECK(bytes >= 0);
  const size_t size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return Error{ErrorCode::kExhausted, fmt::format("no memory for {}: {} bytes asked for", what, bytes)};
  }
  // Advice only: 4 KiB pages cost a fifth to a third of the read bandwidth of large buffers.
  if (bytes >= kHugePageBytes) madvise(data, size, MADV_HUGEPAGE);
  blocks_.push_back({data, size});
  return static_cast<std::byte*>(data);
}

Result<TensorView> HostMemory::allocate(int32_t rows, int32_t cols, DType type) {
  if (rows < 0 || cols < 0) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("a buffer cannot have the shape [{}, {}]", rows, cols)};
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<int64_t>(rows) * cols, static_cast<int64_t>(dtype_bytes(type)), &bytes)) {
    return Error{ErrorCode::kExhausted, fmt::format("no memory for a [{}, {}] buffer", rows, cols)};
  }
  ASSIGN_OR_RETURN(std::byte * data, reserve(bytes, fmt::format("a [{}, {}] buffer", rows, cols)));
  return TensorView{data, rows, cols, cols, type, Space::kHost};
}

void write_floats(std::span<const float> values, TensorView x) {
  CHECK(static_cast<int64_t>(values.size()) == static_cast<int64_t>(x.rows) * x.cols);
  switch (x.dtype) {
    case DType::kF32:
      return write_as<float>(values, x, [](float v) { return v; });
    case DType::kF64:
      return write_as<double>(values, x, [](float v) { return static_cast<double>(v); });
    case DType::kBF16:
      return write_as<uint16_t>(values, x, f32_to_bf16);
    case DType::kF16:
      return write_as<uint16_t>(values, x, f32_to_f16);
    case DType::kI32:
    case DType::kU8:
      CHECK(!"floats written to an integer buffer");
  }
}

void read_floats(TensorView x, std::span<float> values) {
  CHECK(static_cast<int64_t>(values.size()) == static_cast<int64_t>(x.rows) * x.cols);
  switch (x.dtype) {
    case DType::kF32:
      return read_as<float>(x, values, [](float v) { return v; });
    case DType::kF64:
      return read_as<double>(x, values, [](double v) { return static_cast<float>(v); });
    case DType::kBF16:
      return read_as<uint16_t>(x, values, bf16_to_f32);
    case DType::kF16:
      return read_as<uint16_t>(x, values, f16_to_f32);
    case DType::kI32:
    case DType::kU8:
      CHECK(!"floats read from an integer buffer");
  }
}

void write_int32s(std::span<const int32_t> ids, TensorView x) {
  CHECK(x.dtype == DType::kI32 && x.cols == 1 && static_cast<int64_t>(ids.size()) == x.rows);
  for (int32_t r = 0; r < x.rows; ++r) *x.row<int32_t>(r) = ids[static_cast<size_t>(r)];
}

void read_int32s(TensorView x, std::span<int32_t> ids) {
  CHECK(x.dtype == DType::kI32 && x.cols == 1 && static_cast<int64_t>(ids.size()) == x.rows);
  for (int32_t r = 0; r < x.rows; ++r) ids[static_cast<size_t>(r)] = *x.row<int32_t>(r);
}

}  // namespace lapidary
