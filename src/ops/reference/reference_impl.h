// The class behind make_reference_ops; only this folder includes it.
#pragma once

#include <string>
#include <vector>

#include "ops/host_ops.h"
#include "ops/reference/reference_ops.h"
#include "quant/formats.h"

namespace lapidary {

class ReferenceOps final : public HostOps {
 public:
  explicit ReferenceOps(const OpsOptions& options) : kv_type_(options.kv_type) {}

  std::string description() const override { return "reference, double precision, 1 thread"; }
  DType activation_type() const override { return DType::kF64; }

  Result<void> prepare(QuantizedMatrix& w) override;
  Result<void> reserve_kv(const KvLayout& layout) override;

  void embed(TensorView ids, const QuantizedMatrix& table, float scale, TensorView x) override;
  void project(TensorView x, std::span<const QuantizedMatrix* const> w, std::span<const TensorView> y) override;
  void rms_norm(TensorView x, NormWeight w, float eps, TensorView out) override;
  void layer_norm(TensorView x, NormWeight w, NormWeight b, float eps, TensorView out) override;
  void norm_rope(TensorView heads, NormWeight w, float eps, RopeSpec rope, TensorView positions) override;
  void norm_rope_2d(TensorView heads, NormWeight w, float eps, float theta, TensorView x, TensorView y) override;
  void kv_write(KvView kv, TensorView k, TensorView v, const AttentionPlan& plan) override;
  void attention(TensorView q, KvView kv, const AttentionPlan& plan, TensorView out) override;
  void attend_all(TensorView q, TensorView k, TensorView v, int32_t head_dim, TensorView out) override;
  void gelu_mul(TensorView gate, TensorView up, TensorView out) override;
  void add(TensorView y, TensorView x) override;
  void add_bias(NormWeight b, TensorView x) override;
  void add_rows(const QuantizedMatrix& table, TensorView rows, TensorView x) override;
  void scale_columns(NormWeight w, TensorView x) override;
  void mean_rows(TensorView x, TensorView rows, TensorView out) override;
  void scale(float factor, TensorView x) override;
  void softcap(float cap, TensorView x) override;
  void clamp(TensorView x, ClipRange range, TensorView out) override;
  void silu(TensorView x) override;
  void glu(TensorView x, TensorView out) override;
  void gather_rows(TensorView x, TensorView rows, TensorView out) override;
  void scatter_add_rows(TensorView y, TensorView rows, TensorView weights, TensorView x) override;
  void route(TensorView logits, NormWeight expert_scale, int32_t active, TensorView chosen,
             TensorView weights) override;
  void causal_conv(TensorView x, TensorView w, TensorView out) override;
  void unfold(TensorView x, int32_t bands, int32_t first, TensorView out) override;
  void local_attention(const LocalAttention& how, TensorView q, TensorView k, TensorView v, TensorView out) override;
  void clear(TensorView x) override;
  void copy(TensorView from, TensorView to) override;

 private:
  // One layer's K and V: [pages * kPagePositions, kv_heads * head_dim] each.
  struct KvLayer {
    int32_t pages = 0, head_dim = 0, kv_heads = 0;
    double* k = nullptr;
    double* v = nullptr;
  };

  const KvLayer& layer(KvView kv) const;
  // The row of `position` in a K or V array.
  int64_t kv_row(const KvLayer& layer, const AttentionPlan& plan, const AttentionRow& row, int32_t position) const;
  double round_to_kv(double value) const;

  DType kv_type_;
  std::array<std::vector<KvLayer>, kAttentionKinds> kv_;
  bool kv_reserved_ = false;
};

}  // namespace lapidary
