// The operations of a conformer, as ops.h says them.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "ops/reference/reference_impl.h"

namespace lapidary {
namespace {

bool is_activation(TensorView x) { return x.dtype == DType::kF64 && x.space == Space::kHost && x.stride >= x.cols; }

bool same_shape(TensorView a, TensorView b) { return a.rows == b.rows && a.cols == b.cols; }

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

void ReferenceOps::silu(TensorView x) {
  CHECK(is_activation(x));
  for (int32_t r = 0; r < x.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] *= sigmoid(x.row<double>(r)[c]);
  }
}

void ReferenceOps::glu(TensorView x, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && x.rows == out.rows && x.cols == 2 * out.cols);
  for (int32_t r = 0; r < x.rows; ++r) {
    const double* from = x.row<double>(r);
    for (int32_t c = 0; c < out.cols; ++c) out.row<double>(r)[c] = from[c] * sigmoid(from[out.cols + c]);
  }
}

void ReferenceOps::causal_conv(TensorView x, TensorView w, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out) && x.data != out.data);
  CHECK(w.dtype == DType::kF32 && w.cols == x.cols && w.rows > 0);
  for (int32_t t = 0; t < x.rows; ++t) {
    for (int32_t c = 0; c < x.cols; ++c) {
      double sum = 0;
      for (int32_t i = 0; i < w.rows; ++i) {
        const int32_t row = t - w.rows + 1 + i;
        if (row >= 0) sum += static_cast<double>(w.row<float>(i)[c]) * x.row<double>(row)[c];
      }
      out.row<double>(t)[c] = sum;
    }
  }
}

void ReferenceOps::unfold(TensorView x, int32_t bands, int32_t first, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && bands > 0 && x.rows % bands == 0 && out.cols == 9 * x.cols);
  const int32_t half = (bands + 1) / 2, times = x.rows / bands;
  CHECK(out.rows % half == 0);
  for (int32_t r = 0; r < out.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) {
      for (int32_t a = 0; a < 3; ++a) {
        for (int32_t b = 0; b < 3; ++b) {
          const int32_t time = first + r / half * 2 + a, band = r % half * 2 - 1 + b;
          const bool inside = time >= 0 && time < times && band >= 0 && band < bands;
          out.row<double>(r)[c * 9 + 3 * a + b] =
              inside ? x.row<double>(static_cast<int64_t>(time) * bands + band)[c] : 0.0;
        }
      }
    }
  }
}

void ReferenceOps::local_attention(const LocalAttention& how, TensorView q, TensorView k, TensorView v,
                                   TensorView out) {
  const int32_t width = how.heads * how.head_dim;
  CHECK(is_activation(q) && is_activation(k) && is_activation(v) && is_activation(out) && q.cols == width);
  CHECK(same_shape(q, k) && same_shape(q, v) && same_shape(q, out) && out.data != k.data && out.data != v.data);
  CHECK(how.keys > 0 && how.keys <= kLocalKeysMax && how.cap > 0 && is_activation(how.distances));
  CHECK(how.distances.cols == width && how.distances.rows >= how.keys);
  CHECK(how.q_scale.dtype == DType::kF32 && how.q_scale.cols == how.head_dim);
  const double cap = static_cast<double>(how.cap), k_scale = static_cast<double>(how.k_scale);
  const float* q_scale = how.q_scale.row<float>(0);
  std::vector<double> weights;
  for (int32_t t = 0; t < q.rows; ++t) {
    for (int32_t h = 0; h < how.heads; ++h) {
      const int32_t at = h * how.head_dim, first = std::max(0, t - how.keys + 1);
      weights.clear();
      for (int32_t s = first; s <= t; ++s) {
        double score = 0;
        for (int32_t i = 0; i < how.head_dim; ++i) {
          const double key = k_scale * k.row<double>(s)[at + i] + how.distances.row<double>(t - s)[at + i];
          score += q.row<double>(t)[at + i] * static_cast<double>(q_scale[i]) * key;
        }
        weights.push_back(cap * std::tanh(score / cap));
      }
      const double largest = *std::max_element(weights.begin(), weights.end());
      double total = 0;
      for (double& weight : weights) total += weight = std::exp(weight - largest);
      for (int32_t i = 0; i < how.head_dim; ++i) {
        double sum = 0;
        for (int32_t s = first; s <= t; ++s) {
          sum += weights[static_cast<size_t>(s - first)] / total * v.row<double>(s)[at + i];
        }
        out.row<double>(t)[at + i] = sum;
      }
    }
  }
}

}  // namespace lapidary
