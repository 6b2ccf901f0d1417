#include "ops/host_ops.h"

#include "base/check.h"

namespace lapidary {

StepInputs HostOps::upload(const Batch& batch, const AttentionRules& rules) {
  CHECK(batch.positions.size() == batch.token_ids.size());
  token_ids_ = batch.token_ids;
  positions_ = batch.positions;
  logit_rows_ = batch.logit_rows;
  StepInputs inputs;
  const auto column = [](std::vector<int32_t>& values) {
    return TensorView{values.data(), static_cast<int32_t>(values.size()), 1, 1, DType::kI32, Space::kHost};
  };
  inputs.token_ids = column(token_ids_);
  inputs.positions = column(positions_);
  inputs.logit_rows = column(logit_rows_);
  for (size_t kind = 0; kind < plans_.size(); ++kind) {
    plans_[kind] = plan_attention(batch, static_cast<AttentionKind>(kind), rules);
    inputs.plan[kind] = &plans_[kind];
  }
  return inputs;
}

}  // namespace lapidary
