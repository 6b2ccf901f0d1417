#include "ops/reference/reference_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "ops/reference/reference_impl.h"

namespace lapidary {
namespace {

bool is_activation(TensorView x) { return x.dtype == DType::kF64 && x.space == Space::kHost && x.stride >= x.cols; }

bool same_shape(TensorView a, TensorView b) { return a.rows == b.rows && a.cols == b.cols; }

bool is_index(TensorView ids, int32_t rows) { return ids.dtype == DType::kI32 && ids.cols == 1 && ids.rows == rows; }

// Empty, or one f32 value per column.
bool is_norm_weight(NormWeight w, int32_t cols) { return w.empty() || (w.dtype == DType::kF32 && w.cols == cols); }

double weight_at(NormWeight w, int32_t c) { return w.empty() ? 1.0 : static_cast<double>(w.row<float>(0)[c]); }

// Row r of a matrix with its per-tensor factor, in double.
void decode_row(const QuantizedMatrix& w, int64_t r, std::vector<float>& decoded, std::vector<double>& out) {
  decoded.resize(static_cast<size_t>(w.in));
  out.resize(static_cast<size_t>(w.in));
  format_info(w.format).decode(w.row(r), w.in, decoded.data());
  for (size_t c = 0; c < out.size(); ++c) out[c] = static_cast<double>(decoded[c]) * static_cast<double>(w.scale);
}

// out[c] = x[c] / sqrt(mean(x^2) + eps) * w[c]
void rms_norm_row(const double* x, NormWeight w, double eps, double* out, int32_t cols) {
  double sum = 0;
  for (int32_t c = 0; c < cols; ++c) sum += x[c] * x[c];
  const double factor = 1.0 / std::sqrt(sum / cols + eps);
  for (int32_t c = 0; c < cols; ++c) out[c] = x[c] * factor * weight_at(w, c);
}

// gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), "gelu_pytorch_tanh"
double gelu(double x) {
  const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + std::tanh(inner));
}

}  // namespace

Result<std::unique_ptr<Ops>> make_reference_ops(const OpsOptions& options) {
  const DType type = options.kv_type;
  if (type != DType::kBF16 && type != DType::kF16 && type != DType::kF32) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("K/V type: expected bf16, f16 or f32, found element type {}", static_cast<int>(type))};
  }
  return std::unique_ptr<Ops>(std::make_unique<ReferenceOps>(options));
}

Result<void> ReferenceOps::prepare(QuantizedMatrix& w) {
  CHECK(static_cast<int64_t>(w.blocks.size()) == w.out * row_bytes(w.format, w.in));
  return {};
}

void ReferenceOps::embed(TensorView ids, const QuantizedMatrix& table, float scale, TensorView x) {
  CHECK(is_activation(x) && is_index(ids, x.rows) && x.cols == table.in);
  std::vector<float> decoded;
  std::vector<double> row;
  for (int32_t r = 0; r < x.rows; ++r) {
    const int32_t id = *ids.row<int32_t>(r);
    CHECK(id >= 0 && id < table.out);
    decode_row(table, id, decoded, row);
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] = row[static_cast<size_t>(c)] * static_cast<double>(scale);
  }
}

void ReferenceOps::project(TensorView x, std::span<const QuantizedMatrix* const> w, std::span<const TensorView> y) {
  CHECK(is_activation(x) && w.size() == y.size());
  std::vector<float> decoded;
  std::vector<double> row;
  for (size_t i = 0; i < w.size(); ++i) {
    CHECK(is_activation(y[i]) && w[i]->in == x.cols && y[i].rows == x.rows && y[i].cols == w[i]->out);
    for (int32_t o = 0; o < w[i]->out; ++o) {
      decode_row(*w[i], o, decoded, row);
      for (int32_t r = 0; r < x.rows; ++r) {
        const double* xr = x.row<double>(r);
        double sum = 0;
        for (int32_t c = 0; c < x.cols; ++c) sum += row[static_cast<size_t>(c)] * xr[c];
        y[i].row<double>(r)[o] = sum;
      }
    }
  }
}

void ReferenceOps::rms_norm(TensorView x, NormWeight w, float eps, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out) && is_norm_weight(w, x.cols));
  for (int32_t r = 0; r < x.rows; ++r) {
    rms_norm_row(x.row<double>(r), w, static_cast<double>(eps), out.row<double>(r), x.cols);
  }
}

void ReferenceOps::layer_norm(TensorView x, NormWeight w, NormWeight b, float eps, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out));
  CHECK(is_norm_weight(w, x.cols) && is_norm_weight(b, x.cols));
  for (int32_t r = 0; r < x.rows; ++r) {
    const double* from = x.row<double>(r);
    double* to = out.row<double>(r);
    double sum = 0, squares = 0;
    for (int32_t c = 0; c < x.cols; ++c) sum += from[c];
    const double mean = sum / x.cols;
    for (int32_t c = 0; c < x.cols; ++c) squares += (from[c] - mean) * (from[c] - mean);
    const double factor = 1.0 / std::sqrt(squares / x.cols + static_cast<double>(eps));
    for (int32_t c = 0; c < x.cols; ++c) {
      const double bias = b.empty() ? 0.0 : static_cast<double>(b.row<float>(0)[c]);
      to[c] = (from[c] - mean) * factor * weight_at(w, c) + bias;
    }
  }
}

void ReferenceOps::norm_rope(TensorView heads, NormWeight w, float eps, RopeSpec rope, TensorView positions) {
  CHECK(is_activation(heads) && is_norm_weight(w, heads.cols));
  if (heads.rows == 0) return;
  CHECK(positions.rows > 0 && heads.rows % positions.rows == 0 && is_index(positions, positions.rows));
  const int32_t heads_per_row = heads.rows / positions.rows;
  const std::vector<float> frequencies = rope_frequencies(rope, heads.cols);
  const int32_t half = heads.cols / 2;
  for (int32_t h = 0; h < heads.rows; ++h) {
    double* x = heads.row<double>(h);
    rms_norm_row(x, w, static_cast<double>(eps), x, heads.cols);
    const int32_t position = *positions.row<int32_t>(h / heads_per_row);
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const RopeAngle angle = rope_angle(position, frequencies[i]);
      const double cos = angle.cos, sin = angle.sin, first = x[i], second = x[i + static_cast<size_t>(half)];
      x[i] = first * cos - second * sin;
      x[i + static_cast<size_t>(half)] = second * cos + first * sin;
    }
  }
}

void ReferenceOps::norm_rope_2d(TensorView heads, NormWeight w, float eps, float theta, TensorView x, TensorView y) {
  CHECK(is_activation(heads) && is_norm_weight(w, heads.cols) && heads.cols % 4 == 0);
  if (heads.rows == 0) return;
  CHECK(x.rows > 0 && heads.rows % x.rows == 0 && is_index(x, x.rows) && is_index(y, x.rows));
  const int32_t heads_per_row = heads.rows / x.rows, axis_dim = heads.cols / 2, half = axis_dim / 2;
  const std::vector<float> frequencies = rope_frequencies({.theta = theta}, axis_dim);
  for (int32_t h = 0; h < heads.rows; ++h) {
    double* head = heads.row<double>(h);
    rms_norm_row(head, w, static_cast<double>(eps), head, heads.cols);
    for (const auto& [axis, offset] : {std::pair{x, 0}, std::pair{y, axis_dim}}) {
      const int32_t position = *axis.row<int32_t>(h / heads_per_row);
      CHECK(position >= 0);
      for (int32_t i = 0; i < half; ++i) {
        const RopeAngle angle = rope_angle(position, frequencies[static_cast<size_t>(i)]);
        const double cos = angle.cos, sin = angle.sin, first = head[offset + i], second = head[offset + i + half];
        head[offset + i] = first * cos - second * sin;
        head[offset + i + half] = second * cos + first * sin;
      }
    }
  }
}

void ReferenceOps::gelu_mul(TensorView gate, TensorView up, TensorView out) {
  CHECK(is_activation(gate) && is_activation(up) && is_activation(out));
  CHECK(same_shape(gate, up) && same_shape(gate, out));
  for (int32_t r = 0; r < gate.rows; ++r) {
    for (int32_t c = 0; c < gate.cols; ++c) {
      out.row<double>(r)[c] = gelu(gate.row<double>(r)[c]) * up.row<double>(r)[c];
    }
  }
}

void ReferenceOps::add(TensorView y, TensorView x) {
  CHECK(is_activation(y) && is_activation(x) && same_shape(y, x));
  for (int32_t r = 0; r < x.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] += y.row<double>(r)[c];
  }
}

void ReferenceOps::add_bias(NormWeight b, TensorView x) {
  CHECK(is_activation(x) && !b.empty() && is_norm_weight(b, x.cols));
  for (int32_t r = 0; r < x.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] += static_cast<double>(b.row<float>(0)[c]);
  }
}

void ReferenceOps::add_rows(const QuantizedMatrix& table, TensorView rows, TensorView x) {
  CHECK(is_activation(x) && is_index(rows, x.rows) && table.in == x.cols);
  std::vector<float> decoded;
  std::vector<double> row;
  for (int32_t r = 0; r < x.rows; ++r) {
    const int32_t id = *rows.row<int32_t>(r);
    CHECK(id >= 0 && id < table.out);
    decode_row(table, id, decoded, row);
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] += row[static_cast<size_t>(c)];
  }
}

void ReferenceOps::scale_columns(NormWeight w, TensorView x) {
  CHECK(is_activation(x) && !w.empty() && is_norm_weight(w, x.cols));
  for (int32_t r = 0; r < x.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] *= weight_at(w, c);
  }
}

void ReferenceOps::mean_rows(TensorView x, TensorView rows, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && x.cols == out.cols);
  if (out.rows == 0) return;
  CHECK(is_index(rows, rows.rows) && rows.rows >= out.rows && rows.rows % out.rows == 0);
  const int32_t count = rows.rows / out.rows;
  for (int32_t i = 0; i < out.rows; ++i) {
    std::fill_n(out.row<double>(i), out.cols, 0.0);
    for (int32_t j = 0; j < count; ++j) {
      const int32_t r = *rows.row<int32_t>(static_cast<int64_t>(i) * count + j);
      CHECK(r >= 0 && r < x.rows);
      for (int32_t c = 0; c < out.cols; ++c) out.row<double>(i)[c] += x.row<double>(r)[c] / count;
    }
  }
}

void ReferenceOps::scale(float factor, TensorView x) {
  CHECK(is_activation(x));
  for (int32_t r = 0; r < x.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] *= static_cast<double>(factor);
  }
}

void ReferenceOps::softcap(float cap, TensorView x) {
  CHECK(is_activation(x) && cap > 0);
  for (int32_t r = 0; r < x.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) {
      double& value = x.row<double>(r)[c];
      value = static_cast<double>(cap) * std::tanh(value / static_cast<double>(cap));
    }
  }
}

void ReferenceOps::clamp(TensorView x, ClipRange range, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out) && range.low <= range.high);
  const double low = range.low, high = range.high;
  for (int32_t r = 0; r < x.rows; ++r) {
    for (int32_t c = 0; c < x.cols; ++c) {
      const double value = x.row<double>(r)[c];
      out.row<double>(r)[c] = value < low ? low : value > high ? high : value;
    }
  }
}

void ReferenceOps::gather_rows(TensorView x, TensorView rows, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && is_index(rows, out.rows) && x.cols == out.cols);
  for (int32_t i = 0; i < out.rows; ++i) {
    const int32_t r = *rows.row<int32_t>(i);
    CHECK(r >= 0 && r < x.rows);
    for (int32_t c = 0; c < out.cols; ++c) out.row<double>(i)[c] = x.row<double>(r)[c];
  }
}

void ReferenceOps::scatter_add_rows(TensorView y, TensorView rows, TensorView weights, TensorView x) {
  CHECK(is_activation(y) && is_activation(x) && y.cols == x.cols && is_index(rows, y.rows));
  CHECK(is_activation(weights) && weights.rows == y.rows && weights.cols == 1);
  for (int32_t i = 0; i < y.rows; ++i) {
    const int32_t r = *rows.row<int32_t>(i);
    CHECK(r >= 0 && r < x.rows);
    const double weight = *weights.row<double>(i);
    for (int32_t c = 0; c < x.cols; ++c) x.row<double>(r)[c] += weight * y.row<double>(i)[c];
  }
}

void ReferenceOps::route(TensorView logits, NormWeight expert_scale, int32_t active, TensorView chosen,
                         TensorView weights) {
  CHECK(is_activation(logits) && is_norm_weight(expert_scale, logits.cols) && active > 0 && active <= logits.cols);
  CHECK(is_index(chosen, logits.rows * active));
  CHECK(is_activation(weights) && weights.rows == chosen.rows && weights.cols == 1);
  const int32_t experts = logits.cols;
  std::vector<double> p(static_cast<size_t>(experts));
  for (int32_t r = 0; r < logits.rows; ++r) {
    const double* row = logits.row<double>(r);
    const double largest = *std::max_element(row, row + experts);
    double total = 0;
    for (int32_t e = 0; e < experts; ++e) total += p[static_cast<size_t>(e)] = std::exp(row[e] - largest);
    for (double& value : p) value /= total;

    std::vector<int32_t> best;
    std::vector<bool> taken(p.size());
    for (int32_t k = 0; k < active; ++k) {
      int32_t next = -1;
      for (int32_t e = 0; e < experts; ++e) {
        if (taken[static_cast<size_t>(e)]) continue;
        if (next < 0 || p[static_cast<size_t>(e)] > p[static_cast<size_t>(next)]) next = e;
      }
      taken[static_cast<size_t>(next)] = true;
      best.push_back(next);
    }
    std::sort(best.begin(), best.end());
    double of_chosen = 0;
    for (const int32_t e : best) of_chosen += p[static_cast<size_t>(e)];
    for (int32_t k = 0; k < active; ++k) {
      const int32_t e = best[static_cast<size_t>(k)];
      *chosen.row<int32_t>(static_cast<int64_t>(r) * active + k) = e;
      *weights.row<double>(static_cast<int64_t>(r) * active + k) =
          p[static_cast<size_t>(e)] / of_chosen * weight_at(expert_scale, e);
    }
  }
}

void ReferenceOps::clear(TensorView x) {
  CHECK(is_activation(x));
  for (int32_t r = 0; r < x.rows; ++r) std::fill_n(x.row<double>(r), x.cols, 0.0);
}

void ReferenceOps::copy(TensorView from, TensorView to) {
  CHECK(is_activation(from) && is_activation(to) && same_shape(from, to));
  for (int32_t r = 0; r < from.rows; ++r) {
    for (int32_t c = 0; c < from.cols; ++c) to.row<double>(r)[c] = from.row<double>(r)[c];
  }
}

}  // namespace lapidary
