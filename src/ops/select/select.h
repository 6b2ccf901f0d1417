// The backends by name: the only place that knows them all.
#pragma once

#include <memory>
#include <string_view>

#include "ops/ops.h"

namespace lapidary {

// device: "auto" (the fastest one here), "cpu", "cuda" or "reference".
// Errors: kInvalidArgument for another name, kUnsupported for a backend this program was built without, and those of
// the backend itself.
Result<std::unique_ptr<Ops>> make_ops(std::string_view device, const OpsOptions& options);

// Bytes per second that `threads` threads (0: one per physical core) read from this machine's memory, measured now; 0
// if there is no memory to measure with. Takes about a second.
double measured_read_bandwidth(int threads);

}  // namespace lapidary
