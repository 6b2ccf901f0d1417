// What the backends that run on the processor share: memory, the way in and out of it, and a step's inputs.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/host_memory.h"
#include "ops/ops.h"

namespace lapidary {

class HostOps : public Ops {
 public:
  Result<TensorView> allocate(int32_t rows, int32_t cols, DType type) override {
    return memory_.allocate(rows, cols, type);
  }
  void write(std::span<const float> values, TensorView x) override { write_floats(values, x); }
  void read(TensorView x, std::span<float> values) override { read_floats(x, values); }
  void write_ids(std::span<const int32_t> ids, TensorView x) override { write_int32s(ids, x); }
  void read_ids(TensorView x, std::span<int32_t> ids) override { read_int32s(x, ids); }
  StepInputs upload(const Batch& batch, const AttentionRules& rules) override;

 protected:
  HostMemory memory_;

 private:
  // Of the current step.
  std::vector<int32_t> token_ids_, positions_, logit_rows_;
  std::array<AttentionPlan, kAttentionKinds> plans_;
};

}  // namespace lapidary
