// Attention of every row to every row, without a mask or a cache: a picture's patches among themselves.
//
// K and V of some heads are first laid side by side, so that a head's rows follow each other. A task is a block of
// queries of one head against all keys, which come in chunks of 512: each chunk gives a softmax of its own, and the
// chunks are joined in order. Memory grows with the rows, never with their square. Chunks begin at multiples of 512 and
// every sum runs over ascending rows, so neither threads nor the size of a task can be seen in a result.
#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "ops/cpu/cpu_impl.h"

namespace lapidary {
namespace {

constexpr int32_t kChunkKeys = 512;
constexpr int32_t kBlockKeys = 32;  // keys whose values are added while they lie in the first-level cache
constexpr int32_t kTaskQueries = 48;
constexpr int64_t kRowsPerCopy = 64;
constexpr int64_t kHeadsBytesMax = 16 << 20;  // of K and V laid out at a time; at least one head

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

bool is_activation(TensorView x) { return x.dtype == DType::kF32 && x.space == Space::kHost && x.stride >= x.cols; }

}  // namespace

void CpuOps::attend_all(TensorView q, TensorView k, TensorView v, int32_t head_dim, TensorView out) {
  CHECK(is_activation(q) && is_activation(k) && is_activation(v) && is_activation(out));
  CHECK(head_dim > 0 && q.cols % head_dim == 0);
  CHECK(q.cols == k.cols && q.cols == v.cols && q.cols == out.cols);
  CHECK(q.rows == k.rows && q.rows == v.rows && q.rows == out.rows);
  const int32_t rows = q.rows, heads = q.cols / head_dim;
  if (rows == 0 || heads == 0) return;
  const int64_t head_values = static_cast<int64_t>(rows) * head_dim;
  const int32_t together = static_cast<int32_t>(
      std::clamp<int64_t>(kHeadsBytesMax / (2 * head_values * static_cast<int64_t>(sizeof(float))), 1, heads));
  CHECK(head_keys_.grow(together * head_values) && head_values_.grow(together * head_values));
  for (AttentionScratch& scratch : attention_scratch_) {
    CHECK(scratch.panels.grow(kTaskQueries * round_up(head_dim, kTileLanesMax)));
    CHECK(scratch.scores.grow(kTaskQueries * kChunkKeys));
    CHECK(scratch.part.grow(kTaskQueries * head_dim));
    CHECK(scratch.total.grow(kTaskQueries * head_dim));
    scratch.part_states.resize(kTaskQueries);
  }

  const int64_t tasks_of_head = (rows + kTaskQueries - 1) / kTaskQueries;
  for (int32_t first = 0; first < heads; first += together) {
    const int32_t count = std::min(together, heads - first);
    const size_t head_bytes = static_cast<size_t>(head_dim) * sizeof(float);
    pool_.run(rows, kRowsPerCopy, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        for (int32_t h = 0; h < count; ++h) {
          const int64_t to = h * head_values + r * head_dim, from = static_cast<int64_t>(first + h) * head_dim;
          std::memcpy(head_keys_.data() + to, k.row<float>(r) + from, head_bytes);
          std::memcpy(head_values_.data() + to, v.row<float>(r) + from, head_bytes);
        }
      }
    });
    pool_.run(count * tasks_of_head, 1, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t t = begin; t < end; ++t) {
        const int32_t h = static_cast<int32_t>(t / tasks_of_head);
        FullAttentionTask task;
        task.keys = head_keys_.data() + h * head_values;
        task.values = head_values_.data() + h * head_values;
        task.rows = rows;
        task.dim = head_dim;
        task.first_query = static_cast<int32_t>(t % tasks_of_head) * kTaskQueries;
        task.queries = std::min(kTaskQueries, rows - task.first_query);
        task.column = (first + h) * head_dim;
        attend_block(task, q, out, attention_scratch_[static_cast<size_t>(worker)]);
      }
    });
  }
}

void CpuOps::attend_block(const FullAttentionTask& task, TensorView q, TensorView out, AttentionScratch& scratch) {
  const int32_t dim = task.dim;
  const Staging staging = staging_of(task.queries, kernels_.tile_columns);
  const int64_t padded = round_up(dim, kernels_.lanes);
  scratch.rows.clear();
  for (int32_t i = 0; i < task.queries; ++i) scratch.rows.push_back(q.row<float>(task.first_query + i) + task.column);
  for (int32_t p = 0; p < staging.panels; ++p) {
    kernels_.pack_f32(scratch.rows.data() + p * staging.columns, staging.columns_of(p), dim,
                      scratch.panels.data() + p * staging.columns * padded);
  }
  const int64_t values = static_cast<int64_t>(task.queries) * dim;
  std::fill_n(scratch.total.data(), values, 0.0f);
  scratch.total_states.assign(static_cast<size_t>(task.queries), {-std::numeric_limits<float>::infinity(), 0.0f});
  for (int32_t first = 0; first < task.rows; first += kChunkKeys) {
    const int32_t keys = std::min(kChunkKeys, task.rows - first);
    score_chunk(task, staging, first, keys, scratch);
    std::fill_n(scratch.part.data(), values, 0.0f);
    add_values(task, staging, first, keys, scratch);
    for (int32_t i = 0; i < task.queries; ++i) {
      const int64_t at = static_cast<int64_t>(i) * dim;
      kernels_.softmax_combine(scratch.part.data() + at, scratch.part_states[static_cast<size_t>(i)], dim,
                               scratch.total.data() + at, &scratch.total_states[static_cast<size_t>(i)]);
    }
  }
  for (int32_t i = 0; i < task.queries; ++i) {
    kernels_.divide(scratch.total_states[static_cast<size_t>(i)].total,
                    scratch.total.data() + static_cast<int64_t>(i) * dim,
                    out.row<float>(task.first_query + i) + task.column, dim);
  }
}

// scores [queries, kChunkKeys]: exp(score - largest of the chunk); what lies beyond the last key weighs nothing.
void CpuOps::score_chunk(const FullAttentionTask& task, const Staging& staging, int32_t first, int32_t keys,
                         AttentionScratch& scratch) {
  const int64_t padded = round_up(task.dim, kernels_.lanes);
  const TileKernel& kernel = kernels_.tile[static_cast<size_t>(Format::kF32)];
  const float* k = task.keys + static_cast<int64_t>(first) * task.dim;
  float* scores = scratch.scores.data();
  for (int32_t block = 0; block < keys; block += kBlockKeys) {
    const int32_t block_end = std::min(block + kBlockKeys, keys);
    for (int32_t p = 0; p < staging.panels; ++p) {
      const int32_t column = p * staging.columns, columns = staging.columns_of(p);
      TileArgs args;
      args.panel = scratch.panels.data() + column * padded;
      args.values = task.dim;
      args.y_stride = kChunkKeys;
      for (int32_t key = block; key < block_end; key += kTileOutputs) {
        args.outputs = std::min(kTileOutputs, block_end - key);
        for (int32_t o = 0; o < kTileOutputs; ++o) {
          const int64_t row = key + std::min(o, args.outputs - 1);  // a short tile repeats its last row
          args.weights[static_cast<size_t>(o)] = reinterpret_cast<const std::byte*>(k + row * task.dim);
        }
        args.y = scores + static_cast<int64_t>(column) * kChunkKeys + key;
        kernel.tile[static_cast<size_t>(columns - 1)](args);
      }
    }
  }
  const int32_t whole = static_cast<int32_t>(round_up(keys, kPagePositions));
  for (int32_t i = 0; i < task.queries; ++i) {
    float* row = scores + static_cast<int64_t>(i) * kChunkKeys;
    std::fill(row + keys, row + whole, -std::numeric_limits<float>::infinity());
    scratch.part_states[static_cast<size_t>(i)] = kernels_.softmax(row, whole);
  }
}

// part [queries, dim] += scores * values, keys ascending.
void CpuOps::add_values(const FullAttentionTask& task, const Staging& staging, int32_t first, int32_t keys,
                        AttentionScratch& scratch) {
  const auto& kernels = kernels_.values[static_cast<size_t>(Format::kF32)];
  for (int32_t block = 0; block < keys; block += kBlockKeys) {
    ValuesArgs args;
    args.v = reinterpret_cast<const std::byte*>(task.values + static_cast<int64_t>(first + block) * task.dim);
    args.dim = task.dim;
    args.p_stride = kChunkKeys;
    args.out_stride = task.dim;
    args.first = 0;
    args.last = std::min(kBlockKeys, keys - block);
    for (int32_t p = 0; p < staging.panels; ++p) {
      const int64_t column = static_cast<int64_t>(p) * staging.columns;
      args.p = scratch.scores.data() + column * kChunkKeys + block;
      args.out = scratch.part.data() + column * task.dim;
      kernels[static_cast<size_t>(staging.columns_of(p) - 1)](args);
    }
  }
}

}  // namespace lapidary
