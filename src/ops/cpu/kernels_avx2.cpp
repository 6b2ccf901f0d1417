#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/target.h"
#include "ops/cpu/kernels.h"
#include "quant/formats.h"

LAPIDARY_TARGET_BEGIN("avx2,fma,f16c")
namespace lapidary {
namespace avx2 {
namespace {

#include "ops/cpu/vector_avx2.h"

#include "ops/cpu/kernels-inl.h"

#include "ops/cpu/f16-inl.h"

constexpr CpuKernels kernels() {
  CpuKernels kernels = common_kernels("avx2");
  add_f16(kernels);
  return kernels;
}

}  // namespace
}  // namespace avx2
}  // namespace lapidary
LAPIDARY_TARGET_END

namespace lapidary {

constexpr CpuKernels kKernels = avx2::kernels();
const CpuKernels kAvx2Kernels = kKernels;

}  // namespace lapidary
