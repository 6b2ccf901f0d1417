// Which kernel tables this processor may run.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/cpu/kernels.h"

namespace lapidary {

// Slowest first; never empty. What the processor has and the operating system saves on a task switch.
const std::vector<const CpuKernels*>& available_levels();

// The level called `name`: baseline, avx2, avx512 or avx512bf16; the fastest one here if `name` is empty.
// Errors: kInvalidArgument for an unknown name, kUnsupported for one this processor cannot run.
Result<const CpuKernels*> level_named(std::string_view name);

// level_named(the environment's LAPIDARY_ISA): how a test or a bug report reaches a slower path.
Result<const CpuKernels*> chosen_level();

}  // namespace lapidary
