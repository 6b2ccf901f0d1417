// What a conformer needs beside products and norms: windows of a convolution, a convolution along time, and attention
// over a few rows. None of them is where its time goes; the products are.
#include <algorithm>

#include "base/check.h"
#include "ops/cpu/cpu_impl.h"

namespace lapidary {
namespace {

constexpr int64_t kValuesPerThread = 16384;
static_assert(kLocalKeysMax <= kLocalScoresMax);

bool is_activation(TensorView x) { return x.dtype == DType::kF32 && x.space == Space::kHost && x.stride >= x.cols; }

bool same_shape(TensorView a, TensorView b) { return a.rows == b.rows && a.cols == b.cols; }

int64_t grain_of(int64_t values) { return std::max<int64_t>(1, kValuesPerThread / std::max<int64_t>(1, values)); }

}  // namespace

void CpuOps::causal_conv(TensorView x, TensorView w, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out) && x.data != out.data);
  CHECK(w.dtype == DType::kF32 && w.cols == x.cols && w.rows > 0);
  pool_.run(x.rows, grain_of(static_cast<int64_t>(w.rows) * x.cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* to = out.row<float>(t);
      std::fill_n(to, out.cols, 0.0f);
      for (int64_t i = std::max<int64_t>(0, w.rows - 1 - t); i < w.rows; ++i) {
        kernels_.multiply_add(w.row<float>(i), x.row<float>(t - w.rows + 1 + i), to, out.cols);
      }
    }
  });
}

void CpuOps::unfold(TensorView x, int32_t bands, int32_t first, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && bands > 0 && x.rows % bands == 0 && out.cols == 9 * x.cols);
  const int32_t half = (bands + 1) / 2, times = x.rows / bands;
  CHECK(out.rows % half == 0);
  pool_.run(out.rows, grain_of(out.cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* to = out.row<float>(r);
      const int64_t time = first + r / half * 2, band = r % half * 2 - 1;
      for (int32_t a = 0; a < 3; ++a) {
        for (int32_t b = 0; b < 3; ++b) {
          float* column = to + 3 * a + b;
          const bool inside = time + a >= 0 && time + a < times && band + b >= 0 && band + b < bands;
          if (inside) {
            const float* from = x.row<float>((time + a) * bands + band + b);
            for (int32_t c = 0; c < x.cols; ++c) column[9 * static_cast<int64_t>(c)] = from[c];
          } else {
            for (int32_t c = 0; c < x.cols; ++c) column[9 * static_cast<int64_t>(c)] = 0.0f;
          }
        }
      }
    }
  });
}

void CpuOps::local_attention(const LocalAttention& how, TensorView q, TensorView k, TensorView v, TensorView out) {
  const int32_t width = how.heads * how.head_dim;
  CHECK(is_activation(q) && is_activation(k) && is_activation(v) && is_activation(out) && q.cols == width);
  CHECK(same_shape(q, k) && same_shape(q, v) && same_shape(q, out) && out.data != k.data && out.data != v.data);
  CHECK(how.keys > 0 && how.keys <= kLocalKeysMax && how.cap > 0 && is_activation(how.distances));
  CHECK(how.distances.cols == width && how.distances.rows >= how.keys);
  CHECK(how.q_scale.dtype == DType::kF32 && how.q_scale.cols == how.head_dim);
  const int64_t values = 3LL * how.keys * how.head_dim;
  pool_.run(static_cast<int64_t>(q.rows) * how.heads, grain_of(values), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / how.heads, at = i % how.heads * how.head_dim;
      LocalAttentionArgs args;
      args.q = q.row<float>(row) + at;
      args.q_scale = how.q_scale.row<float>(0);
      args.k = k.row<float>(row) + at;
      args.v = v.row<float>(row) + at;
      args.k_stride = k.stride;
      args.v_stride = v.stride;
      args.distances = how.distances.row<float>(0) + at;
      args.distance_stride = how.distances.stride;
      args.keys = static_cast<int32_t>(std::min<int64_t>(how.keys, row + 1));
      args.dim = how.head_dim;
      args.k_scale = how.k_scale;
      args.cap = how.cap;
      args.out = out.row<float>(row) + at;
      kernels_.local_attention(args);
    }
  });
}

}  // namespace lapidary
