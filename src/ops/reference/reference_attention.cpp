// K, V and attention of the oracle.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "ops/reference/reference_impl.h"

namespace lapidary {

Result<void> ReferenceOps::reserve_kv(const KvLayout& layout) {
  CHECK(!kv_reserved_);
  for (size_t group = 0; group < layout.groups.size(); ++group) {
    const KvGroup& shape = layout.groups[group];
    for (const KvLayerShape& l : shape.layers) {
      CHECK(shape.pages >= 0 && l.head_dim > 0 && l.kv_heads > 0);
      const int64_t values = static_cast<int64_t>(shape.pages) * kPagePositions * l.head_dim * l.kv_heads;
      const int64_t bytes = values * static_cast<int64_t>(sizeof(double));
      KvLayer held{shape.pages, l.head_dim, l.kv_heads};
      ASSIGN_OR_RETURN(std::byte * k, memory_.reserve(bytes, "keys"));
      ASSIGN_OR_RETURN(std::byte * v, memory_.reserve(bytes, "values"));
      held.k = reinterpret_cast<double*>(k);
      held.v = reinterpret_cast<double*>(v);
      kv_[group].push_back(held);
    }
  }
  kv_reserved_ = true;
  return {};
}

const ReferenceOps::KvLayer& ReferenceOps::layer(KvView kv) const {
  CHECK(kv.group >= 0 && kv.group < kAttentionKinds);
  const std::vector<KvLayer>& layers = kv_[static_cast<size_t>(kv.group)];
  CHECK(kv.index >= 0 && kv.index < static_cast<int32_t>(layers.size()));
  const KvLayer& layer = layers[static_cast<size_t>(kv.index)];
  CHECK(layer.head_dim == kv.head_dim && layer.kv_heads == kv.kv_heads);
  return layer;
}

int64_t ReferenceOps::kv_row(const KvLayer& layer, const AttentionPlan& plan, const AttentionRow& row,
                             int32_t position) const {
  const int32_t page = plan.page_of(row.table, position);
  CHECK(page >= 0 && page < layer.pages);
  return static_cast<int64_t>(page) * kPagePositions + position % kPagePositions;
}

double ReferenceOps::round_to_kv(double value) const {
  const float single = static_cast<float>(value);
  if (kv_type_ == DType::kBF16) return static_cast<double>(round_to_bf16(single));
  if (kv_type_ == DType::kF16) return static_cast<double>(f16_to_f32(f32_to_f16(single)));
  return static_cast<double>(single);
}

void ReferenceOps::kv_write(KvView kv, TensorView k, TensorView v, const AttentionPlan& plan) {
  const KvLayer& l = layer(kv);
  const int32_t width = l.kv_heads * l.head_dim;
  CHECK(k.dtype == DType::kF64 && v.dtype == DType::kF64 && k.cols == width && v.cols == width);
  CHECK(k.rows == v.rows && k.rows == static_cast<int32_t>(plan.rows.size()));
  for (int32_t r = 0; r < k.rows; ++r) {
    const AttentionRow& row = plan.rows[static_cast<size_t>(r)];
    const int64_t at = kv_row(l, plan, row, row.position) * width;
    for (int32_t c = 0; c < width; ++c) {
      l.k[at + c] = round_to_kv(k.row<double>(r)[c]);
      l.v[at + c] = round_to_kv(v.row<double>(r)[c]);
    }
  }
}

void ReferenceOps::attention(TensorView q, KvView kv, const AttentionPlan& plan, TensorView out) {
  const KvLayer& l = layer(kv);
  const int32_t dim = l.head_dim, width = l.kv_heads * dim;
  CHECK(q.dtype == DType::kF64 && out.dtype == DType::kF64 && q.cols % width == 0 && q.cols == out.cols);
  CHECK(q.rows == out.rows && q.rows == static_cast<int32_t>(plan.rows.size()));
  const int32_t heads = q.cols / dim, group = heads / l.kv_heads;
  std::vector<double> weights;
  for (int32_t r = 0; r < q.rows; ++r) {
    const AttentionRow& row = plan.rows[static_cast<size_t>(r)];
    CHECK(row.begin < row.end);
    weights.resize(static_cast<size_t>(row.end - row.begin));
    for (int32_t h = 0; h < heads; ++h) {
      const double* query = q.row<double>(r) + h * dim;
      double* result = out.row<double>(r) + h * dim;
      const int64_t head_offset = static_cast<int64_t>(h / group) * dim;
      double largest = -std::numeric_limits<double>::infinity(), total = 0;
      for (int32_t p = row.begin; p < row.end; ++p) {
        const double* key = l.k + kv_row(l, plan, row, p) * width + head_offset;
        double score = 0;
        for (int32_t c = 0; c < dim; ++c) score += query[c] * key[c];
        weights[static_cast<size_t>(p - row.begin)] = score;
        largest = std::max(largest, score);
      }
      for (double& weight : weights) {
        weight = std::exp(weight - largest);
        total += weight;
      }
      std::fill(result, result + dim, 0.0);
      for (int32_t p = row.begin; p < row.end; ++p) {
        const double* value = l.v + kv_row(l, plan, row, p) * width + head_offset;
        const double weight = weights[static_cast<size_t>(p - row.begin)] / total;
        for (int32_t c = 0; c < dim; ++c) result[c] += weight * value[c];
      }
    }
  }
}

void ReferenceOps::attend_all(TensorView q, TensorView k, TensorView v, int32_t head_dim, TensorView out) {
  for (const TensorView& x : {q, k, v, out}) {
    CHECK(x.dtype == DType::kF64 && x.rows == q.rows && x.cols == q.cols && head_dim > 0 && x.cols % head_dim == 0);
  }
  std::vector<double> weights(static_cast<size_t>(q.rows));
  for (int32_t first = 0; first < q.cols; first += head_dim) {
    for (int32_t r = 0; r < q.rows; ++r) {
      const double* query = q.row<double>(r) + first;
      double* result = out.row<double>(r) + first;
      double largest = -std::numeric_limits<double>::infinity(), total = 0;
      for (int32_t p = 0; p < k.rows; ++p) {
        const double* key = k.row<double>(p) + first;
        double score = 0;
        for (int32_t c = 0; c < head_dim; ++c) score += query[c] * key[c];
        weights[static_cast<size_t>(p)] = score;
        largest = std::max(largest, score);
      }
      for (double& weight : weights) {
        weight = std::exp(weight - largest);
        total += weight;
      }
      std::fill(result, result + head_dim, 0.0);
      for (int32_t p = 0; p < v.rows; ++p) {
        const double* value = v.row<double>(p) + first;
        const double weight = weights[static_cast<size_t>(p)] / total;
        for (int32_t c = 0; c < head_dim; ++c) result[c] += weight * value[c];
      }
    }
  }
}

}  // namespace lapidary
