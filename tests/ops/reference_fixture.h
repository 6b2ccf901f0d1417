// The oracle with tensors made from, and read into, vectors of values.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/reference/reference_ops.h"

namespace lapidary::testing {

class ReferenceFixture : public ::testing::Test {
 protected:
  void SetUp() override { open(DType::kF32); }

  void open(DType kv_type) {
    auto made = make_reference_ops({.kv_type = kv_type});
    ASSERT_TRUE(made.has_value());
    ops_ = std::move(*made);
  }

  TensorView tensor(int32_t rows, int32_t cols, const std::vector<float>& values, DType type = DType::kF64) {
    TensorView x = *ops_->allocate(rows, cols, type);
    ops_->write(values, x);
    return x;
  }

  std::vector<float> values(TensorView x) {
    std::vector<float> out(static_cast<size_t>(x.rows) * static_cast<size_t>(x.cols));
    ops_->read(x, out);
    return out;
  }

  TensorView ids(const std::vector<int32_t>& values) {
    TensorView x = *ops_->allocate(static_cast<int32_t>(values.size()), 1, DType::kI32);
    ops_->write_ids(values, x);
    return x;
  }

  std::unique_ptr<Ops> ops_;
};

}  // namespace lapidary::testing
