#include "bench/fma_peak.h"

#include <immintrin.h>

#include "base/clock.h"
#include "base/target.h"

namespace lapidary {
namespace {

constexpr int kChains = 12;  // more than latency times throughput of any multiply-add
constexpr int64_t kRounds = 1 << 21;

// The empty assembly keeps every chain in a register and every step in the program.
#define LAPIDARY_PEAK_LOOP(type, step)      \
  type sums[kChains] = {};                  \
  for (int64_t i = 0; i < kRounds; ++i) {   \
    for (int j = 0; j < kChains; ++j) {     \
      sums[j] = step;                       \
      __asm__ volatile("" : "+v"(sums[j])); \
    }                                       \
  }

__attribute__((noinline)) void baseline_loop() {
  const __m128 x = _mm_set1_ps(0.5f);
  LAPIDARY_PEAK_LOOP(__m128, _mm_add_ps(_mm_mul_ps(x, x), sums[j]))
}

}  // namespace
}  // namespace lapidary

LAPIDARY_TARGET_BEGIN("avx2,fma")
namespace lapidary {
namespace {
__attribute__((noinline)) void avx2_loop() {
  const __m256 x = _mm256_set1_ps(0.5f);
  LAPIDARY_PEAK_LOOP(__m256, _mm256_fmadd_ps(x, x, sums[j]))
}
}  // namespace
}  // namespace lapidary
LAPIDARY_TARGET_END

LAPIDARY_TARGET_BEGIN("avx512f,avx512bf16")
namespace lapidary {
namespace {
__attribute__((noinline)) void avx512_loop() {
  const __m512 x = _mm512_set1_ps(0.5f);
  LAPIDARY_PEAK_LOOP(__m512, _mm512_fmadd_ps(x, x, sums[j]))
}
__attribute__((noinline)) void pairs_loop() {
  const __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f00);
  LAPIDARY_PEAK_LOOP(__m512, _mm512_dpbf16_ps(sums[j], x, x))
}
}  // namespace
}  // namespace lapidary
LAPIDARY_TARGET_END

namespace lapidary {
namespace {

double rate(void (*loop)(), int operations) {
  const Stopwatch watch;
  loop();
  return static_cast<double>(kRounds) * kChains * operations / watch.seconds();
}

}  // namespace

double fma_peak(std::string_view name) {
  if (name.starts_with("avx512")) return rate(avx512_loop, 32);
  if (name == "avx2") return rate(avx2_loop, 16);
  return rate(baseline_loop, 8);
}

double bf16_pairs_peak(std::string_view name) { return name == "avx512bf16" ? rate(pairs_loop, 64) : 0; }

}  // namespace lapidary
