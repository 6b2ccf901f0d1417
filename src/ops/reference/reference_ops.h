// The oracle: every operation as its formula says, in double precision, by plain loops, on one thread. It stays slow
// and readable for ever; every other backend is tested against it.
#pragma once

#include <memory>

#include "ops/ops.h"

namespace lapidary {

// Activations are kF64. K and V are rounded to options.kv_type and kept as f64. options.precision and options.threads
// mean nothing here: weights are decoded to f32, everything after is double.
// Errors: kInvalidArgument for a kv_type other than kBF16, kF16, kF32.
Result<std::unique_ptr<Ops>> make_reference_ops(const OpsOptions& options);

}  // namespace lapidary
