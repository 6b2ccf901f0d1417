// The level of every processor: 128-bit vectors, no fused multiply-add. f16 has no entries, so it also shows that a
// format without kernels works.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "ops/cpu/kernels.h"
#include "quant/formats.h"

namespace lapidary {
namespace baseline {
namespace {

#include "ops/cpu/vector_baseline.h"

#include "ops/cpu/kernels-inl.h"

}  // namespace
}  // namespace baseline

constexpr CpuKernels kKernels = baseline::common_kernels("baseline");
const CpuKernels kBaselineKernels = kKernels;

}  // namespace lapidary
