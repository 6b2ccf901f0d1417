// Weight formats: one row of data each. The rest of the program asks this table and never switches over formats; a
// format added here runs everywhere, slowly, through its scalar decode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/dtype.h"

namespace lapidary {

enum class Format : uint8_t { kF32, kBF16, kF16 };

struct FormatInfo {
  Format format;
  std::string_view name;
  int32_t block_values;  // values of a row come in whole blocks
  int32_t block_bytes;
  // out[i] for i in [0, values); values is a multiple of block_values. blocks need not be aligned.
  void (*decode)(const std::byte* blocks, int64_t values, float* out);
  void (*encode)(const float* values, int64_t count, std::byte* blocks);
};

std::span<const FormatInfo> formats();
const FormatInfo& format_info(Format format);
std::optional<Format> format_named(std::string_view name);

// Bytes of one row of values; values must be a multiple of the block.
int64_t row_bytes(Format format, int64_t values);

// y[out] = W[out, in] * x[in]. A row is a whole number of blocks, so rows are found without decoding.
struct QuantizedMatrix {
  Format format = Format::kBF16;
  int32_t out = 0, in = 0;
  float scale = 1.0f;                 // per-tensor factor; 1 for the plain formats
  std::span<const std::byte> blocks;  // borrowed from the mapped file: out rows, one after the other
  int32_t packed = -1;                // handle of the backend's own layout, given by Ops::prepare; -1: none

  bool empty() const { return out == 0; }
  const std::byte* row(int64_t r) const { return blocks.data() + r * row_bytes(format, in); }
};

}  // namespace lapidary
