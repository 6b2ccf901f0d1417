#include "model/vision_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/limits.h"

namespace lapidary {
namespace {

// Patches that go through the row-wise parts together: a few full blocks of matrix products.
constexpr int32_t kPieceRows = 480;

Error wrong_picture(const MediaInput& input, std::string what) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("{}: {}", input.kind == MediaKind::kVideo ? "a video" : "an image", what)};
}

}  // namespace

Result<void> check_tower_picture(const VisionTowerConfig& config, const MediaInput& input) {
  const int32_t patches = input.units(), cols = config.patch_values(), k = config.pooling;
  if (input.rows < 1 || input.rows > kLimits.image_tokens_max) {
    return wrong_picture(input,
                         fmt::format("expected 1 to {} soft tokens, found {}", kLimits.image_tokens_max, input.rows));
  }
  if (patches != input.rows * config.patches_per_token() || input.cols != cols ||
      input.values.size() != static_cast<size_t>(patches) * static_cast<size_t>(cols) ||
      input.positions.size() != static_cast<size_t>(patches) * 2) {
    return wrong_picture(
        input, fmt::format("expected {} patches of {} values for {} soft tokens, found {} of {} ({} values, {} "
                           "coordinates)",
                           static_cast<int64_t>(input.rows) * config.patches_per_token(), cols, input.rows, patches,
                           input.cols, input.values.size(), input.positions.size()));
  }
  const int64_t across = int64_t{input.positions[input.positions.size() - 2]} + 1,
                down = int64_t{input.positions.back()} + 1;
  if (across < 1 || down < 1 || across * down != patches || across % k != 0 || down % k != 0) {
    return wrong_picture(
        input, fmt::format("expected {} patches in a grid whose sides are multiples of {}, found {}x{}", patches, k,
                           across, down));
  }
  if (across > config.positions || down > config.positions) {
    return wrong_picture(
        input, fmt::format("{}x{} patches lie outside the model's {} positions; use a smaller token budget", across,
                           down, config.positions));
  }
  for (int32_t p = 0; p < patches; ++p) {
    const int32_t x = input.positions[static_cast<size_t>(2 * p)], y = input.positions[static_cast<size_t>(2 * p + 1)];
    if (x != p % across || y != p / across) {
      return wrong_picture(
          input, fmt::format("expected patch {} at column {}, row {}, found {}, {}", p, p % across, p / across, x, y));
    }
  }
  return {};
}

Result<VisionTower> VisionTower::create(const VisionTowerConfig& config, const VisionTowerWeights& weights, Ops& ops) {
  VisionTower tower(config, weights, ops);
  RETURN_IF_ERROR(tower.allocate());
  return tower;
}

Result<void> VisionTower::allocate() {
  const VisionTowerConfig& c = *config_;
  Ops& ops = *ops_;
  const DType type = ops.activation_type();
  const int32_t patches = kLimits.image_tokens_max * c.patches_per_token(), width = c.heads * c.head_dim;
  ASSIGN_OR_RETURN(x_, ops.allocate(patches, c.dim, type));
  ASSIGN_OR_RETURN(q_, ops.allocate(patches, width, type));
  ASSIGN_OR_RETURN(k_, ops.allocate(patches, width, type));
  ASSIGN_OR_RETURN(v_, ops.allocate(patches, width, type));
  ASSIGN_OR_RETURN(pixels_, ops.allocate(kPieceRows, c.patch_values(), type));
  ASSIGN_OR_RETURN(h_, ops.allocate(kPieceRows, c.dim, type));
  ASSIGN_OR_RETURN(gate_, ops.allocate(kPieceRows, c.ffn_hidden, type));
  ASSIGN_OR_RETURN(up_, ops.allocate(kPieceRows, c.ffn_hidden, type));
  if (c.clipped) {
    ASSIGN_OR_RETURN(clipped_, ops.allocate(kPieceRows, std::max({c.dim, width, c.ffn_hidden}), type));
  }
  ASSIGN_OR_RETURN(x_ids_, ops.allocate(patches, 1, DType::kI32));
  ASSIGN_OR_RETURN(y_ids_, ops.allocate(patches, 1, DType::kI32));
  ASSIGN_OR_RETURN(table_ids_, ops.allocate(patches, 1, DType::kI32));
  ASSIGN_OR_RETURN(pool_ids_, ops.allocate(patches, 1, DType::kI32));
  ASSIGN_OR_RETURN(pooled_, ops.allocate(kLimits.image_tokens_max, c.dim, type));
  return {};
}

template <class Body>
void VisionTower::each_piece(Body body) {
  for (int32_t first = 0; first < patches_; first += kPieceRows) body(first, std::min(kPieceRows, patches_ - first));
}

void VisionTower::encode(const MediaInput& input, TensorView out) {
  CHECK(out.rows == input.rows && input.units() <= x_.rows);
  patches_ = input.units();
  embed_patches(input);
  if (probe_) probe_(-1, row_range(x_, 0, patches_));
  for (size_t l = 0; l < weights_->layers.size(); ++l) {
    const VisionLayerWeights& w = weights_->layers[l];
    attention(w);
    each_piece([&](int32_t first, int32_t rows) { feed_forward(w, row_range(x_, first, rows)); });
    if (probe_) probe_(static_cast<int32_t>(l), row_range(x_, 0, patches_));
  }
  pool(input, out);
}

// x = W (2 (pixel - 1/2)) + table[x][column] + table[y][row]
void VisionTower::embed_patches(const MediaInput& input) {
  std::vector<int32_t> columns, rows, rows_in_table;
  for (int32_t p = 0; p < patches_; ++p) {
    columns.push_back(input.positions[static_cast<size_t>(2 * p)]);
    rows.push_back(input.positions[static_cast<size_t>(2 * p + 1)]);
    rows_in_table.push_back(config_->positions + rows.back());
  }
  const TensorView x_ids = row_range(x_ids_, 0, patches_), y_ids = row_range(y_ids_, 0, patches_),
                   table_ids = row_range(table_ids_, 0, patches_), x = row_range(x_, 0, patches_);
  ops_->write_ids(columns, x_ids);
  ops_->write_ids(rows, y_ids);
  ops_->write_ids(rows_in_table, table_ids);

  std::vector<float> centred(static_cast<size_t>(kPieceRows) * static_cast<size_t>(input.cols));
  each_piece([&](int32_t first, int32_t count) {
    const size_t begin = static_cast<size_t>(first) * static_cast<size_t>(input.cols),
                 values = static_cast<size_t>(count) * static_cast<size_t>(input.cols);
    std::transform(input.values.begin() + static_cast<std::ptrdiff_t>(begin),
                   input.values.begin() + static_cast<std::ptrdiff_t>(begin + values), centred.begin(),
                   [](float pixel) { return 2.0f * (pixel - 0.5f); });
    const TensorView pixels = row_range(pixels_, 0, count);
    ops_->write(std::span(centred).first(values), pixels);
    ops_->project(pixels, std::array{&weights_->patch}, std::array{row_range(x_, first, count)});
  });
  ops_->add_rows(weights_->positions, x_ids, x);
  ops_->add_rows(weights_->positions, table_ids, x);
}

void VisionTower::attention(const VisionLayerWeights& w) {
  const VisionTowerConfig& c = *config_;
  const float eps = c.rms_eps;
  each_piece([&](int32_t first, int32_t rows) {
    const TensorView h = row_range(h_, 0, rows), q = row_range(q_, first, rows), k = row_range(k_, first, rows),
                     v = row_range(v_, first, rows), x_ids = row_range(x_ids_, first, rows),
                     y_ids = row_range(y_ids_, first, rows);
    ops_->rms_norm(row_range(x_, first, rows), w.attn_norm, eps, h);
    linear(h, std::array{&w.q, &w.k, &w.v}, std::array{q, k, v});
    ops_->norm_rope_2d(split_heads(q, c.head_dim), w.q_norm, eps, c.rope_theta, x_ids, y_ids);
    ops_->norm_rope_2d(split_heads(k, c.head_dim), w.k_norm, eps, c.rope_theta, x_ids, y_ids);
    ops_->rms_norm(split_heads(v, c.head_dim), {}, eps, split_heads(v, c.head_dim));
  });
  const TensorView q = row_range(q_, 0, patches_);
  ops_->attend_all(q, row_range(k_, 0, patches_), row_range(v_, 0, patches_), c.head_dim, q);
  each_piece([&](int32_t first, int32_t rows) {
    const TensorView h = row_range(h_, 0, rows);
    linear(row_range(q_, first, rows), std::array{&w.o}, std::array{h});
    ops_->add_rms_norm(h, w.post_attn_norm, eps, row_range(x_, first, rows));  // x += norm(h)
  });
}

void VisionTower::feed_forward(const VisionLayerWeights& w, TensorView x) {
  const TensorView h = row_range(h_, 0, x.rows), gate = row_range(gate_, 0, x.rows), up = row_range(up_, 0, x.rows);
  ops_->rms_norm(x, w.ffn_norm, config_->rms_eps, h);
  linear(h, std::array{&w.gate, &w.up}, std::array{gate, up});
  ops_->gelu_mul(gate, up, gate);  // gate = gelu(gate) * up
  linear(gate, std::array{&w.down}, std::array{h});
  ops_->add_rms_norm(h, w.post_ffn_norm, config_->rms_eps, x);  // x += norm(h)
}

// soft = projection * rms((mean of the square * sqrt(dim) - shift) * column scale). The root comes first: shift and
// scale were fitted to the scaled values.
void VisionTower::pool(const MediaInput& input, TensorView out) {
  const int32_t k = config_->pooling, across = input.positions[input.positions.size() - 2] + 1;
  std::vector<int32_t> squares;
  for (int32_t token = 0; token < out.rows; ++token) {
    const int32_t x = token % (across / k) * k, y = token / (across / k) * k;
    for (int32_t i = 0; i < k * k; ++i) squares.push_back((y + i / k) * across + x + i % k);
  }
  const TensorView ids = row_range(pool_ids_, 0, patches_), pooled = row_range(pooled_, 0, out.rows);
  ops_->write_ids(squares, ids);
  ops_->mean_rows(row_range(x_, 0, patches_), ids, pooled);
  ops_->scale(static_cast<float>(std::sqrt(static_cast<double>(config_->dim))), pooled);
  if (config_->standardised) {
    ops_->add_bias(weights_->minus_shift, pooled);
    ops_->scale_columns(weights_->column_scale, pooled);
  }
  ops_->rms_norm(pooled, {}, config_->rms_eps, pooled);
  ops_->project(pooled, std::array{&weights_->projection}, std::array{out});
}

void VisionTower::linear(TensorView x, std::span<const ClippedMatrix* const> w, std::span<const TensorView> y) {
  for (size_t first = 0; first < w.size();) {
    // Layers that read the same range share its copy of x.
    const ClipRange range = w[first]->input;
    std::vector<const QuantizedMatrix*> matrices;
    size_t last = first;
    for (; last < w.size() && w[last]->input == range; ++last) matrices.push_back(&w[last]->matrix);
    TensorView in = x;
    if (!range.unbounded()) {
      in = packed(clipped_, x.rows, x.cols);
      ops_->clamp(x, range, in);
    }
    ops_->project(in, matrices, y.subspan(first, last - first));
    for (; first < last; ++first) {
      if (!w[first]->output.unbounded()) ops_->clamp(y[first], w[first]->output, y[first]);
    }
  }
}

}  // namespace lapidary
