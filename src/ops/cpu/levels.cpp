#include "ops/cpu/levels.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lapidary {
namespace {

constexpr std::array<const CpuKernels*, 4> kLevels = {&kBaselineKernels, &kAvx2Kernels, &kAvx512Kernels,
                                                      &kAvx512Bf16Kernels};

constexpr bool bit(uint32_t word, int index) { return (word >> index & 1u) != 0; }

#if defined(__x86_64__)
// How many of kLevels may run. Bits are those of Intel's manual, volume 2, CPUID.
size_t levels_supported() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return 1;
  const bool fma = bit(c, 12), osxsave = bit(c, 27), f16c = bit(c, 29);
  if (!osxsave || !fma || !f16c) return 1;
  uint32_t state_low = 0, state_high = 0;
  __asm__ volatile("xgetbv" : "=a"(state_low), "=d"(state_high) : "c"(0));
  const bool ymm_saved = (state_low & 0x06u) == 0x06u, zmm_saved = (state_low & 0xe6u) == 0xe6u;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return 1;
  const uint32_t subleaves = a;
  const bool avx2 = bit(b, 5), avx512 = bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);  // F, DQ, BW, VL
  if (!avx2 || !ymm_saved) return 1;
  if (!avx512 || !zmm_saved) return 2;
  if (subleaves < 1 || __get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return 3;
  return bit(a, 5) ? 4 : 3;
}
#else
size_t levels_supported() { return 1; }
#endif

// Intel's cores multiply bf16 pairs at half the rate of f32 (86 against 174 GFLOP/s of one core here, and prefill at 76
// against 118), so there the pairs are left to those who ask for them; AMD's have the full rate.
const CpuKernels* default_level() {
  const std::vector<const CpuKernels*>& available = available_levels();
#if defined(__x86_64__)
  uint32_t a = 0, b = 0, c = 0, d = 0;
  const bool intel = __get_cpuid(0, &a, &b, &c, &d) != 0 && b == signature_INTEL_ebx && c == signature_INTEL_ecx;
  if (intel && available.back() == &kAvx512Bf16Kernels) return &kAvx512Kernels;
#endif
  return available.back();
}

}  // namespace

const std::vector<const CpuKernels*>& available_levels() {
  static const std::vector<const CpuKernels*> levels(kLevels.begin(), kLevels.begin() + levels_supported());
  return levels;
}

Result<const CpuKernels*> level_named(std::string_view name) {
  const std::vector<const CpuKernels*>& available = available_levels();
  if (name.empty()) return default_level();
  for (const CpuKernels* level : available) {
    if (name == level->name) return level;
  }
  for (const CpuKernels* level : kLevels) {
    if (name == level->name) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("LAPIDARY_ISA={}: this processor offers at most {}", name, available.back()->name)};
    }
  }
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("LAPIDARY_ISA: expected baseline, avx2, avx512 or avx512bf16, found \"{}\"", name)};
}

Result<const CpuKernels*> chosen_level() {
  const char* name = std::getenv("LAPIDARY_ISA");
  return level_named(name != nullptr ? name : "");
}

}  // namespace lapidary
