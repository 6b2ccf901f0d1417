#include "quant/formats.h"

#include <array>
#include <cstring>

#include "base/check.h"

namespace lapidary {
namespace {

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

void decode_f32(const std::byte* blocks, int64_t values, float* out) {
  std::memcpy(out, blocks, static_cast<size_t>(values) * 4);
}

void encode_f32(const float* values, int64_t count, std::byte* blocks) {
  std::memcpy(blocks, values, static_cast<size_t>(count) * 4);
}

void decode_bf16(const std::byte* blocks, int64_t values, float* out) {
  for (int64_t i = 0; i < values; ++i) out[i] = bf16_to_f32(load<uint16_t>(blocks + 2 * i));
}

void encode_bf16(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = f32_to_bf16(values[i]);
    std::memcpy(blocks + 2 * i, &bits, 2);
  }
}

void decode_f16(const std::byte* blocks, int64_t values, float* out) {
  for (int64_t i = 0; i < values; ++i) out[i] = f16_to_f32(load<uint16_t>(blocks + 2 * i));
}

void encode_f16(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = f32_to_f16(values[i]);
    std::memcpy(blocks + 2 * i, &bits, 2);
  }
}

constexpr std::array kFormats = {
    FormatInfo{Format::kF32, "f32", 1, 4, decode_f32, encode_f32},
    FormatInfo{Format::kBF16, "bf16", 1, 2, decode_bf16, encode_bf16},
    FormatInfo{Format::kF16, "f16", 1, 2, decode_f16, encode_f16},
};

}  // namespace

std::span<const FormatInfo> formats() { return kFormats; }

const FormatInfo& format_info(Format format) {
  const FormatInfo& info = kFormats[static_cast<size_t>(format)];
  CHECK(info.format == format);
  return info;
}

std::optional<Format> format_named(std::string_view name) {
  for (const FormatInfo& info : kFormats) {
    if (info.name == name) return info.format;
  }
  return std::nullopt;
}

int64_t row_bytes(Format format, int64_t values) {
  const FormatInfo& info = format_info(format);
  CHECK(values % info.block_values == 0);
  return values / info.block_values * info.block_bytes;
}

}  // namespace lapidary
