// The oracle against answers worked out by hand or by another route: short cases whose value is obvious.
#include "ops/reference/reference_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "ops/reference_fixture.h"

namespace lapidary {
namespace {

class Reference : public testing::ReferenceFixture {
 protected:
  static QuantizedMatrix matrix(const std::vector<float>& weights, int32_t out, int32_t in, float scale = 1) {
    return {.format = Format::kF32, .out = out, .in = in, .scale = scale, .blocks = std::as_bytes(std::span(weights))};
  }
};

TEST_F(Reference, RefusesAKvTypeItCannotKeep) {
  auto made = make_reference_ops({.kv_type = DType::kI32});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(Reference, AllocationIsZeroedAndRefusesNegativeShapes) {
  TensorView x = *ops_->allocate(3, 5, DType::kF64);
  EXPECT_EQ(values(x), std::vector<float>(15, 0.0f));
  EXPECT_FALSE(ops_->allocate(-1, 5, DType::kF64).has_value());
}

TEST_F(Reference, ProjectMultipliesByTheTransposeAndTheTensorFactor) {
  const std::vector<float> first = {1, 2, 3, 0, -1, 1}, second = {1, 1, 1};
  const QuantizedMatrix w0 = matrix(first, 2, 3), w1 = matrix(second, 1, 3, 0.5f);
  TensorView x = tensor(2, 3, {1, 0, 2, -1, 4, 0.5});
  TensorView y0 = *ops_->allocate(2, 2, DType::kF64), y1 = *ops_->allocate(2, 1, DType::kF64);
  ops_->project(x, std::array{&w0, &w1}, std::array{y0, y1});
  EXPECT_EQ(values(y0), (std::vector<float>{7, 2, 8.5, -3.5}));
  EXPECT_EQ(values(y1), (std::vector<float>{1.5, 1.75}));
}

TEST_F(Reference, EmbedScalesTableRows) {
  const std::vector<float> weights = {1, 2, 3, 4, 5, 6};
  const QuantizedMatrix table = matrix(weights, 3, 2);
  TensorView x = *ops_->allocate(2, 2, DType::kF64);
  ops_->embed(ids({2, 0}), table, 2.0f, x);
  EXPECT_EQ(values(x), (std::vector<float>{10, 12, 2, 4}));
  ops_->add_rows(table, ids({1, 1}), x);
  EXPECT_EQ(values(x), (std::vector<float>{13, 16, 5, 8}));
}

TEST_F(Reference, NormsDivideByTheRootMeanSquare) {
  TensorView x = tensor(1, 4, {1, -1, 1, -1}), weight = *ops_->allocate(1, 4, DType::kF32);
  ops_->write(std::vector<float>{1, 2, 3, 4}, weight);
  TensorView out = *ops_->allocate(1, 4, DType::kF64);
  ops_->rms_norm(x, weight, 3.0f, out);  // mean of squares 1, plus 3: divide by 2
  EXPECT_EQ(values(out), (std::vector<float>{0.5, -1, 1.5, -2}));
  ops_->rms_norm(x, {}, 0.0f, out);
  EXPECT_EQ(values(out), (std::vector<float>{1, -1, 1, -1}));

  TensorView y = tensor(1, 4, {5, 3, 5, 3}), bias = *ops_->allocate(1, 4, DType::kF32);
  ops_->write(std::vector<float>{10, 10, 10, 10}, bias);
  ops_->layer_norm(y, weight, bias, 0.0f, y);  // mean 4, deviation 1
  EXPECT_EQ(values(y), (std::vector<float>{11, 8, 13, 6}));

  TensorView h = tensor(1, 4, {2, -2, 2, -2});
  ops_->add_rms_norm(h, weight, 0.0f, x);  // x += w * sign
  EXPECT_EQ(values(x), (std::vector<float>{2, -3, 4, -5}));
}

TEST_F(Reference, RopeTurnsTheFirstPairsByPositionTimesFrequency) {
  // head_dim 8, half of it rotates: pairs (0, 4) at frequency 1 and (1, 5) at 16^(-2/8) = 1/2.
  TensorView heads = tensor(2, 8, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  ops_->norm_rope(heads, {}, 0.0f, {.theta = 16, .rotary_fraction = 0.5f}, ids({0, 3}));
  const std::vector<float> got = values(heads);
  for (int c = 0; c < 8; ++c) EXPECT_EQ(got[static_cast<size_t>(c)], 1.0f);
  const auto expect = [&](size_t c, double value) { EXPECT_NEAR(got[8 + c], value, 1e-6); };
  expect(0, std::cos(3.0) - std::sin(3.0));
  expect(4, std::cos(3.0) + std::sin(3.0));
  expect(1, std::cos(1.5) - std::sin(1.5));
  expect(5, std::cos(1.5) + std::sin(1.5));
  for (size_t c : {2, 3, 6, 7}) expect(c, 1.0);
}

TEST_F(Reference, ElementwiseOperations) {
  TensorView gate = tensor(1, 3, {0, 1, -1}), up = tensor(1, 3, {5, 2, 2});
  ops_->gelu_mul(gate, up, gate);
  // gelu_pytorch_tanh(1) = 0.841192, gelu(-1) = gelu(1) - 1
  EXPECT_EQ(values(gate)[0], 0.0f);
  EXPECT_NEAR(values(gate)[1], 2 * 0.8411919906, 1e-7);
  EXPECT_NEAR(values(gate)[2], 2 * -0.1588080094, 1e-7);

  TensorView x = tensor(2, 2, {1, 2, 3, 4}), bias = *ops_->allocate(1, 2, DType::kF32);
  ops_->write(std::vector<float>{10, 20}, bias);
  ops_->add_bias(bias, x);
  ops_->add(tensor(2, 2, {1, 1, 1, 1}), x);
  ops_->scale(0.5f, x);
  EXPECT_EQ(values(x), (std::vector<float>{6, 11.5, 7, 12.5}));
  TensorView gathered = *ops_->allocate(3, 2, DType::kF64);
  ops_->gather_rows(x, ids({1, 0, 1}), gathered);
  EXPECT_EQ(values(gathered), (std::vector<float>{7, 12.5, 6, 11.5, 7, 12.5}));
  ops_->softcap(2.0f, gathered);
  EXPECT_NEAR(values(gathered)[0], 2 * std::tanh(3.5), 1e-7);
}

TEST_F(Reference, AttentionAveragesTheValuesOfTheKeysInSight) {
  ASSERT_TRUE(ops_->reserve_kv({{{{.pages = 2, .layers = {}}, {.pages = 2, .layers = {{2, 1}}}}}}).has_value());
  const KvView kv{.group = 1, .index = 0, .head_dim = 2, .kv_heads = 1};
  const PageTable table{{1}, 0};
  const PageTable sliding{{0}, 0};
  Batch batch;
  batch.token_ids = {7, 8};
  batch.positions = {0, 1};
  batch.block_ends = {0, 0};
  batch.slices = {{{&sliding, &table}, 0, 2, 2}};
  const StepInputs in = ops_->upload(batch, {.sliding_window = 1});
  EXPECT_EQ(*in.token_ids.row<int32_t>(1), 8);
  const AttentionPlan& plan = *in.plan[1];
  ops_->kv_write(kv, tensor(2, 2, {0, 0, 1, 0}), tensor(2, 2, {1, 2, 3, 4}), plan);
  // Two query heads share the K/V head. Scores of row 1: head 0 sees (0, ln 3), head 1 (0, 0).
  const float log3 = std::log(3.0f);
  TensorView q = tensor(2, 4, {9, 9, 9, 9, log3, 5, 0, 5}), out = *ops_->allocate(2, 4, DType::kF64);
  ops_->attention(q, kv, plan, out);
  const std::vector<float> got = values(out), expected = {1, 2, 1, 2, 2.5, 3.5, 2, 3};
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6) << i;
}

TEST_F(Reference, KeysAndValuesAreRoundedToTheCacheType) {
  open(DType::kBF16);
  ASSERT_TRUE(ops_->reserve_kv({{{{.pages = 1, .layers = {}}, {.pages = 1, .layers = {{2, 1}}}}}}).has_value());
  const PageTable table{{0}, 0};
  Batch batch;
  batch.token_ids = batch.positions = batch.block_ends = {0};
  batch.slices = {{{&table, &table}, 0, 1, 1}};
  const StepInputs in = ops_->upload(batch, {.sliding_window = 1});
  const KvView kv{.group = 1, .index = 0, .head_dim = 2, .kv_heads = 1};
  const float fine = 1.0f + 0x1p-9f;  // rounds to 1 in bf16
  ops_->kv_write(kv, tensor(1, 2, {fine, fine}), tensor(1, 2, {fine, 3}), *in.plan[1]);
  TensorView out = *ops_->allocate(1, 2, DType::kF64);
  ops_->attention(tensor(1, 2, {1, 1}), kv, *in.plan[1], out);
  EXPECT_EQ(values(out), (std::vector<float>{1, 3}));
}

}  // namespace
}  // namespace lapidary
