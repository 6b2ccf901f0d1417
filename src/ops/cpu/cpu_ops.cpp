#include "ops/cpu/cpu_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "ops/cpu/cpu_impl.h"

namespace lapidary {
namespace {

// Values one thread should have before a second one is woken: some microseconds of element-wise work.
constexpr int64_t kValuesPerThread = 16384;
constexpr int32_t kPieceCols = 4096;

bool is_activation(TensorView x) { return x.dtype == DType::kF32 && x.space == Space::kHost && x.stride >= x.cols; }

bool same_shape(TensorView a, TensorView b) { return a.rows == b.rows && a.cols == b.cols; }

bool is_index(TensorView ids, int32_t rows) { return ids.dtype == DType::kI32 && ids.cols == 1 && ids.rows == rows; }

// Empty, or one f32 value per column.
bool is_norm_weight(NormWeight w, int32_t cols) { return w.empty() || (w.dtype == DType::kF32 && w.cols == cols); }

const float* weight_data(NormWeight w) { return w.empty() ? nullptr : w.row<float>(0); }

}  // namespace

Result<std::unique_ptr<Ops>> make_cpu_ops(const OpsOptions& options) {
  ASSIGN_OR_RETURN(const CpuKernels* level, chosen_level());
  return make_cpu_ops(options, *level);
}

Result<std::unique_ptr<Ops>> make_cpu_ops(const OpsOptions& options, const CpuKernels& level) {
  if (options.threads < 0) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("threads: expected 0 or more, found {}", options.threads)};
  }
  const DType type = options.kv_type;
  if (type != DType::kBF16 && type != DType::kF16 && type != DType::kF32) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("K/V type: expected bf16, f16 or f32, found element type {}", static_cast<int>(type))};
  }
  RETURN_IF_ERROR(level_named(level.name));
  return std::unique_ptr<Ops>(std::make_unique<CpuOps>(options, level));
}

CpuOps::CpuOps(const OpsOptions& options, const CpuKernels& level)
    : kernels_(level),
      precision_(options.precision),
      kv_type_(options.kv_type),
      kv_format_(options.kv_type == DType::kBF16  ? Format::kBF16
                 : options.kv_type == DType::kF16 ? Format::kF16
                                                  : Format::kF32),
      pool_(options.threads == 0 ? physical_cores() : options.threads),
      product_scratch_(static_cast<size_t>(pool_.threads())),
      row_scratch_(static_cast<size_t>(pool_.threads())),
      attention_scratch_(static_cast<size_t>(pool_.threads())) {
  CHECK(kBlockRows % kernels_.tile_columns == 0);
}

std::string CpuOps::description() const {
  return fmt::format("cpu/{}, {} thread{}", kernels_.name, pool_.threads(), pool_.threads() == 1 ? "" : "s");
}

template <class Body>
void CpuOps::each_row(int32_t rows, int32_t cols, Body body) {
  const int64_t grain = std::max<int64_t>(1, kValuesPerThread / std::max(1, cols));
  pool_.run(rows, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t r = begin; r < end; ++r) body(static_cast<int32_t>(r), worker);
  });
}

template <class Body>
void CpuOps::each_piece(int32_t rows, int32_t cols, Body body) {
  const int32_t pieces = (cols + kPieceCols - 1) / kPieceCols;
  const int64_t grain = std::max<int64_t>(1, kValuesPerThread / std::clamp(cols, 1, kPieceCols));
  pool_.run(static_cast<int64_t>(rows) * pieces, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t first = static_cast<int32_t>(i % pieces) * kPieceCols;
      body(static_cast<int32_t>(i / pieces), first, std::min(kPieceCols, cols - first));
    }
  });
}

// out = row * w.scale * factor, each factor only where it is not 1.
void CpuOps::decode_row(const QuantizedMatrix& w, int64_t row, float factor, float* out) const {
  CHECK(row >= 0 && row < w.out);
  decode_values(w, row, 0, w.in, out);
  if (w.scale != 1.0f) kernels_.scale(w.scale, out, out, w.in);
  if (factor != 1.0f) kernels_.scale(factor, out, out, w.in);
}

void CpuOps::embed(TensorView ids, const QuantizedMatrix& table, float scale, TensorView x) {
  CHECK(is_activation(x) && is_index(ids, x.rows) && x.cols == table.in);
  each_row(x.rows, x.cols, [&](int32_t r, int) { decode_row(table, *ids.row<int32_t>(r), scale, x.row<float>(r)); });
}

void CpuOps::add_rows(const QuantizedMatrix& table, TensorView rows, TensorView x) {
  CHECK(is_activation(x) && is_index(rows, x.rows) && table.in == x.cols);
  for (AlignedBuffer<float>& scratch : row_scratch_) CHECK(scratch.grow(x.cols));
  each_row(x.rows, x.cols, [&](int32_t r, int worker) {
    float* decoded = row_scratch_[static_cast<size_t>(worker)].data();
    decode_row(table, *rows.row<int32_t>(r), 1.0f, decoded);
    kernels_.add(decoded, x.row<float>(r), x.cols);
  });
}

void CpuOps::rms_norm(TensorView x, NormWeight w, float eps, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out) && is_norm_weight(w, x.cols));
  const float* weight = weight_data(w);
  each_row(x.rows, x.cols,
           [&](int32_t r, int) { kernels_.rms_norm(x.row<float>(r), weight, eps, out.row<float>(r), x.cols); });
}

void CpuOps::add_rms_norm(TensorView h, NormWeight w, float eps, TensorView x) {
  CHECK(is_activation(h) && is_activation(x) && same_shape(h, x) && is_norm_weight(w, x.cols));
  const float* weight = weight_data(w);
  each_row(x.rows, x.cols,
           [&](int32_t r, int) { kernels_.add_rms_norm(h.row<float>(r), weight, eps, x.row<float>(r), x.cols); });
}

void CpuOps::layer_norm(TensorView x, NormWeight w, NormWeight b, float eps, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out));
  CHECK(is_norm_weight(w, x.cols) && is_norm_weight(b, x.cols));
  const float *weight = weight_data(w), *bias = weight_data(b);
  each_row(x.rows, x.cols,
           [&](int32_t r, int) { kernels_.layer_norm(x.row<float>(r), weight, bias, eps, out.row<float>(r), x.cols); });
}

const CpuOps::RopeTable& CpuOps::rope_table(RopeSpec rope, int32_t head_dim, TensorView positions) {
  auto table = std::find_if(rope_tables_.begin(), rope_tables_.end(), [&](const RopeTable& t) {
    return t.head_dim == head_dim && t.rope.theta == rope.theta && t.rope.rotary_fraction == rope.rotary_fraction;
  });
  if (table == rope_tables_.end()) table = rope_tables_.insert(table, RopeTable{rope, head_dim});
  const size_t rows = static_cast<size_t>(positions.rows);
  bool current = table->positions.size() == rows;
  for (size_t r = 0; current && r < rows; ++r) current = table->positions[r] == *positions.row<int32_t>(r);
  if (current) return *table;

  table->positions.resize(rows);
  for (size_t r = 0; r < rows; ++r) table->positions[r] = *positions.row<int32_t>(r);
  const std::vector<float> frequencies = rope_frequencies(rope, head_dim);
  table->pairs = static_cast<int32_t>(frequencies.size());
  table->cos.resize(rows * frequencies.size());
  table->sin.resize(rows * frequencies.size());
  each_row(positions.rows, 64 * table->pairs, [&](int32_t r, int) {
    for (int32_t i = 0; i < table->pairs; ++i) {
      const RopeAngle angle = rope_angle(table->positions[static_cast<size_t>(r)], frequencies[static_cast<size_t>(i)]);
      table->cos[static_cast<size_t>(r) * frequencies.size() + static_cast<size_t>(i)] = angle.cos;
      table->sin[static_cast<size_t>(r) * frequencies.size() + static_cast<size_t>(i)] = angle.sin;
    }
  });
  return *table;
}

void CpuOps::norm_rope(TensorView heads, NormWeight w, float eps, RopeSpec rope, TensorView positions) {
  CHECK(is_activation(heads) && is_norm_weight(w, heads.cols));
  if (heads.rows == 0) return;
  CHECK(positions.rows > 0 && heads.rows % positions.rows == 0 && is_index(positions, positions.rows));
  const int32_t heads_per_row = heads.rows / positions.rows;
  const RopeTable& table = rope_table(rope, heads.cols, positions);
  const float* weight = weight_data(w);
  each_row(heads.rows, heads.cols, [&](int32_t h, int) {
    float* x = heads.row<float>(h);
    const int64_t at = static_cast<int64_t>(h / heads_per_row) * table.pairs;
    kernels_.rms_norm(x, weight, eps, x, heads.cols);
    kernels_.rope(x, table.cos.data() + at, table.sin.data() + at, table.pairs, heads.cols / 2);
  });
}

const CpuOps::AxisTable& CpuOps::axis_table(float theta, int32_t axis_dim, int32_t coordinates) {
  auto table = std::find_if(axis_tables_.begin(), axis_tables_.end(),
                            [&](const AxisTable& t) { return t.axis_dim == axis_dim && t.theta == theta; });
  if (table == axis_tables_.end()) table = axis_tables_.insert(table, AxisTable{theta, axis_dim});
  const std::vector<float> frequencies = rope_frequencies({.theta = theta}, axis_dim);
  table->pairs = static_cast<int32_t>(frequencies.size());
  for (; table->coordinates < coordinates; ++table->coordinates) {
    for (const float frequency : frequencies) {
      const RopeAngle angle = rope_angle(table->coordinates, frequency);
      table->cos.push_back(angle.cos);
      table->sin.push_back(angle.sin);
    }
  }
  return *table;
}

void CpuOps::norm_rope_2d(TensorView heads, NormWeight w, float eps, float theta, TensorView x, TensorView y) {
  CHECK(is_activation(heads) && is_norm_weight(w, heads.cols) && heads.cols % 4 == 0);
  if (heads.rows == 0) return;
  CHECK(x.rows > 0 && heads.rows % x.rows == 0 && is_index(x, x.rows) && is_index(y, x.rows));
  const int32_t heads_per_row = heads.rows / x.rows, axis_dim = heads.cols / 2;
  int32_t largest = 0;
  for (int32_t r = 0; r < x.rows; ++r) {
    CHECK(*x.row<int32_t>(r) >= 0 && *y.row<int32_t>(r) >= 0);
    largest = std::max({largest, *x.row<int32_t>(r), *y.row<int32_t>(r)});
  }
  const AxisTable& table = axis_table(theta, axis_dim, largest + 1);
  const float* weight = weight_data(w);
  each_row(heads.rows, heads.cols, [&](int32_t h, int) {
    float* head = heads.row<float>(h);
    kernels_.rms_norm(head, weight, eps, head, heads.cols);
    const auto turn = [&](float* half, TensorView axis) {
      const int64_t at = static_cast<int64_t>(*axis.row<int32_t>(h / heads_per_row)) * table.pairs;
      kernels_.rope(half, table.cos.data() + at, table.sin.data() + at, table.pairs, axis_dim / 2);
    };
    turn(head, x);
    turn(head + axis_dim, y);
  });
}

void CpuOps::gelu_mul(TensorView gate, TensorView up, TensorView out) {
  CHECK(is_activation(gate) && is_activation(up) && is_activation(out));
  CHECK(same_shape(gate, up) && same_shape(gate, out));
  each_piece(gate.rows, gate.cols, [&](int32_t r, int32_t first, int32_t count) {
    kernels_.gelu_mul(gate.row<float>(r) + first, up.row<float>(r) + first, out.row<float>(r) + first, count);
  });
}

void CpuOps::add(TensorView y, TensorView x) {
  CHECK(is_activation(y) && is_activation(x) && same_shape(y, x));
  each_piece(x.rows, x.cols, [&](int32_t r, int32_t first, int32_t count) {
    kernels_.add(y.row<float>(r) + first, x.row<float>(r) + first, count);
  });
}

void CpuOps::add_bias(NormWeight b, TensorView x) {
  CHECK(is_activation(x) && !b.empty() && is_norm_weight(b, x.cols));
  const float* bias = weight_data(b);
  each_piece(x.rows, x.cols, [&](int32_t r, int32_t first, int32_t count) {
    kernels_.add(bias + first, x.row<float>(r) + first, count);
  });
}

void CpuOps::scale_columns(NormWeight w, TensorView x) {
  CHECK(is_activation(x) && !w.empty() && is_norm_weight(w, x.cols));
  const float* factors = weight_data(w);
  each_piece(x.rows, x.cols, [&](int32_t r, int32_t first, int32_t count) {
    kernels_.multiply(factors + first, x.row<float>(r) + first, count);
  });
}

void CpuOps::mean_rows(TensorView x, TensorView rows, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && x.cols == out.cols);
  if (out.rows == 0) return;
  CHECK(is_index(rows, rows.rows) && rows.rows >= out.rows && rows.rows % out.rows == 0);
  const int32_t count = rows.rows / out.rows;
  for (int32_t i = 0; i < rows.rows; ++i) CHECK(*rows.row<int32_t>(i) >= 0 && *rows.row<int32_t>(i) < x.rows);
  each_row(out.rows, count * out.cols, [&](int32_t i, int) {
    float* mean = out.row<float>(i);
    const auto member = [&](int32_t j) {
      return x.row<float>(*rows.row<int32_t>(static_cast<int64_t>(i) * count + j));
    };
    std::memcpy(mean, member(0), static_cast<size_t>(out.cols) * sizeof(float));
    for (int32_t j = 1; j < count; ++j) kernels_.add(member(j), mean, out.cols);
    kernels_.divide(static_cast<float>(count), mean, mean, out.cols);
  });
}

void CpuOps::scale(float factor, TensorView x) {
  CHECK(is_activation(x));
  each_piece(x.rows, x.cols, [&](int32_t r, int32_t first, int32_t count) {
    kernels_.scale(factor, x.row<float>(r) + first, x.row<float>(r) + first, count);
  });
}

void CpuOps::softcap(float cap, TensorView x) {
  CHECK(is_activation(x) && cap > 0);
  each_piece(x.rows, x.cols,
             [&](int32_t r, int32_t first, int32_t count) { kernels_.softcap(cap, x.row<float>(r) + first, count); });
}

void CpuOps::clamp(TensorView x, ClipRange range, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && same_shape(x, out) && range.low <= range.high);
  each_piece(x.rows, x.cols, [&](int32_t r, int32_t first, int32_t count) {
    kernels_.clamp(range.low, range.high, x.row<float>(r) + first, out.row<float>(r) + first, count);
  });
}

void CpuOps::silu(TensorView x) {
  CHECK(is_activation(x));
  each_piece(x.rows, x.cols,
             [&](int32_t r, int32_t first, int32_t count) { kernels_.silu(x.row<float>(r) + first, count); });
}

void CpuOps::glu(TensorView x, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && x.rows == out.rows && x.cols == 2 * out.cols);
  each_piece(out.rows, out.cols, [&](int32_t r, int32_t first, int32_t count) {
    const float* values = x.row<float>(r) + first;
    kernels_.glu(values, values + out.cols, out.row<float>(r) + first, count);
  });
}

void CpuOps::gather_rows(TensorView x, TensorView rows, TensorView out) {
  CHECK(is_activation(x) && is_activation(out) && is_index(rows, out.rows) && x.cols == out.cols);
  for (int32_t i = 0; i < out.rows; ++i) {
    const int32_t r = *rows.row<int32_t>(i);
    CHECK(r >= 0 && r < x.rows);
    std::memcpy(out.row<float>(i), x.row<float>(r), static_cast<size_t>(out.cols) * sizeof(float));
  }
}

void CpuOps::scatter_add_rows(TensorView y, TensorView rows, TensorView weights, TensorView x) {
  CHECK(is_activation(y) && is_activation(x) && y.cols == x.cols && is_index(rows, y.rows));
  CHECK(is_activation(weights) && weights.rows == y.rows && weights.cols == 1);
  for (int32_t i = 0; i < y.rows; ++i) CHECK(*rows.row<int32_t>(i) >= 0 && *rows.row<int32_t>(i) < x.rows);
  each_row(y.rows, y.cols, [&](int32_t i, int) {
    float* values = y.row<float>(i);
    kernels_.scale(*weights.row<float>(i), values, values, y.cols);
    kernels_.add(values, x.row<float>(*rows.row<int32_t>(i)), y.cols);
  });
}

// Over the chosen alone: what the softmax divides by cancels when they are made to sum to 1.
void CpuOps::route(TensorView logits, NormWeight expert_scale, int32_t active, TensorView chosen, TensorView weights) {
  CHECK(is_activation(logits) && is_norm_weight(expert_scale, logits.cols) && active > 0 && active <= logits.cols);
  CHECK(is_index(chosen, logits.rows * active) && chosen.stride == 1);
  CHECK(is_activation(weights) && weights.rows == chosen.rows && weights.cols == 1);
  const float* scale = weight_data(expert_scale);
  each_row(logits.rows, 4 * logits.cols, [&](int32_t r, int) {
    const float* row = logits.row<float>(r);
    int32_t* best = chosen.row<int32_t>(static_cast<int64_t>(r) * active);  // largest first while they are collected
    int32_t found = 0;
    for (int32_t e = 0; e < logits.cols; ++e) {
      int32_t at = found;
      while (at > 0 && row[e] > row[best[at - 1]]) --at;
      if (at == active) continue;
      found = std::min(found + 1, active);
      std::copy_backward(best + at, best + found - 1, best + found);
      best[at] = e;
    }
    const double largest = static_cast<double>(row[best[0]]);
    const auto power = [&](int32_t e) { return std::exp(static_cast<double>(row[e]) - largest); };
    std::sort(best, best + active);
    double total = 0;
    for (int32_t k = 0; k < active; ++k) total += power(best[k]);
    for (int32_t k = 0; k < active; ++k) {
      const double weight = power(best[k]) / total * (scale == nullptr ? 1.0 : static_cast<double>(scale[best[k]]));
      *weights.row<float>(static_cast<int64_t>(r) * active + k) = static_cast<float>(weight);
    }
  });
}

void CpuOps::clear(TensorView x) {
  CHECK(is_activation(x));
  each_row(x.rows, x.cols, [&](int32_t r, int) { std::fill_n(x.row<float>(r), x.cols, 0.0f); });
}

void CpuOps::copy(TensorView from, TensorView to) {
  CHECK(is_activation(from) && is_activation(to) && same_shape(from, to));
  each_row(from.rows, from.cols, [&](int32_t r, int) {
    std::memcpy(to.row<float>(r), from.row<float>(r), static_cast<size_t>(from.cols) * sizeof(float));
  });
}

}  // namespace lapidary
