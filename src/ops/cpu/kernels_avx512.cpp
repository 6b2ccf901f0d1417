#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/target.h"
#include "ops/cpu/kernels.h"
#include "quant/formats.h"

LAPIDARY_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")
namespace lapidary {
namespace avx512 {
namespace {

#include "ops/cpu/vector_avx512.h"

#include "ops/cpu/kernels-inl.h"

#include "ops/cpu/f16-inl.h"

constexpr CpuKernels kernels() {
  CpuKernels kernels = common_kernels("avx512");
  add_f16(kernels);
  return kernels;
}

}  // namespace
}  // namespace avx512
}  // namespace lapidary
LAPIDARY_TARGET_END

namespace lapidary {

constexpr CpuKernels kKernels = avx512::kernels();
const CpuKernels kAvx512Kernels = kKernels;

}  // namespace lapidary
