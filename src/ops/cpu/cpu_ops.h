// Ops on the processor: f32 activations, SIMD kernels chosen at start-up, one pool of threads.
#pragma once

#include <memory>

#include "ops/cpu/levels.h"
#include "ops/ops.h"

namespace lapidary {

// On the level that LAPIDARY_ISA names, or the best one. Errors: as level_named; kInvalidArgument for a negative number
// of threads or a kv_type other than kBF16, kF16, kF32.
Result<std::unique_ptr<Ops>> make_cpu_ops(const OpsOptions& options);

// On a given level, which must be available: for tests and benchmarks.
Result<std::unique_ptr<Ops>> make_cpu_ops(const OpsOptions& options, const CpuKernels& level);

}  // namespace lapidary
