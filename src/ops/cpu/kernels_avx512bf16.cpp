// AVX-512 with products of bf16 pairs: weights and activations both in bf16, sums in f32.
#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/target.h"
#include "ops/cpu/kernels.h"
#include "quant/formats.h"

LAPIDARY_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,f16c")
namespace lapidary {
namespace avx512bf16 {
namespace {

#include "ops/cpu/vector_avx512.h"

#include "ops/cpu/kernels-inl.h"

#include "ops/cpu/f16-inl.h"

// Lane i sums the products of values 2i and 2i + 1 of every chunk of 32.
struct WeightsBF16Pairs {
  static constexpr int kChunk = 2 * kLanes, kElementBytes = 2, kWeightBytes = 4 * kLanes;
  using Lanes = __m512i;
  using Element = uint16_t;
  static LAPIDARY_INLINE Lanes load_chunk(const std::byte* from) { return _mm512_loadu_si512(from); }
  static LAPIDARY_INLINE Lanes load_tail(const std::byte* from, int n) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((1u << n) - 1), from);
  }
  static LAPIDARY_INLINE F32 step(Lanes w, const uint16_t* x, F32 sums) {
    return {_mm512_dpbf16_ps(sums.v, (__m512bh)w, (__m512bh)_mm512_loadu_si512(x))};
  }
};

// panel [chunks][columns][32], rounded to nearest even, zero beyond `values`.
void pack_bf16(const float* const* rows, int32_t columns, int32_t values, uint16_t* panel) {
  constexpr int kChunk = WeightsBF16Pairs::kChunk;
  const int32_t chunks = (values + kChunk - 1) / kChunk;
  for (int32_t c = 0; c < columns; ++c) {
    const float* from = rows[c];
    uint16_t* to = panel + c * kChunk;
    for (int32_t i = 0; i < chunks; ++i, from += kChunk, to += columns * kChunk) {
      for (int part = 0; part < kChunk; part += kLanes) {
        const int left = values - i * kChunk - part;
        store_bf16(to + part, left >= kLanes ? load(from + part) : left > 0 ? load_first(from + part, left) : zeros());
      }
    }
  }
}

constexpr CpuKernels kernels() {
  CpuKernels kernels = common_kernels("avx512bf16");
  add_f16(kernels);
  kernels.tile_bf16_pairs = tile_kernel<WeightsBF16Pairs>();
  kernels.pack_bf16 = pack_bf16;
  return kernels;
}

}  // namespace
}  // namespace avx512bf16
}  // namespace lapidary
LAPIDARY_TARGET_END

namespace lapidary {

constexpr CpuKernels kKernels = avx512bf16::kernels();
const CpuKernels kAvx512Bf16Kernels = kKernels;

}  // namespace lapidary
