#include "ops/select/select.h"

#include <fmt/format.h>

#include "base/thread_pool.h"
#include "ops/cpu/bandwidth.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/reference/reference_ops.h"

namespace lapidary {

Result<std::unique_ptr<Ops>> make_ops(std::string_view device, const OpsOptions& options) {
  if (device == "auto" || device == "cpu") return make_cpu_ops(options);
  if (device == "reference") return make_reference_ops(options);
  if (device == "cuda") return Error{ErrorCode::kUnsupported, "device cuda: built without CUDA"};
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("device: expected auto, cpu, cuda or reference, found \"{}\"", device)};
}

double measured_read_bandwidth(int threads) {
  return measure_read_bandwidth(threads == 0 ? physical_cores() : threads);
}

}  // namespace lapidary
