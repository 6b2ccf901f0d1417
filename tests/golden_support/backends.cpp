#include "golden_support/backends.h"

#include <cstdlib>

#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/kernels.h"

namespace lapidary::testing {

std::vector<Backend> backends() {
  std::vector<Backend> all = {{"reference", ""}};
  for (const CpuKernels* level : available_levels()) all.push_back({"cpu", std::string(level->name)});
  return all;
}

ForcedLevel::ForcedLevel(const Backend& backend) {
  if (!backend.level.empty()) setenv("LAPIDARY_ISA", backend.level.c_str(), 1);
}

ForcedLevel::~ForcedLevel() { unsetenv("LAPIDARY_ISA"); }

}  // namespace lapidary::testing
