// Attention of every row to every row, without a mask or a cache: a picture's patches among themselves.
//
// K and V of some heads are first laid out head by head: K as columns, in blocks of 64 keys, so that a score is a plain
// multiply-add down a block and needs no sum across lanes; V as rows, padded to whole vectors. A task is a block of
// queries of one head against all keys, which come in chunks of 512: each chunk gives a softmax of its own, and the
// chunks are joined in order. Memory grows with the rows, never with their square. Chunks begin at multiples of 512 and
// every sum runs in ascending order, so neither threads nor the size of a task can be seen in a result.
#include <algorithm>
#include <limits>

#include "base/check.h"
#include "ops/cpu/cpu_impl.h"

namespace lapidary {
namespace {

constexpr int32_t kChunkKeys = 512;
constexpr int32_t kBlockKeys = 64;  // of K; a block of both lies in the first-level cache
constexpr int32_t kValueKeys = 32;  // of V
constexpr int32_t kTaskQueries = 48;
constexpr int64_t kHeadsBytesMax = 16 << 20;  // of K and V laid out at a time; at least one head
static_assert(kChunkKeys % kBlockKeys == 0 && kBlockKeys % kPagePositions == 0);

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

bool is_activation(TensorView x) { return x.dtype == DType::kF32 && x.space == Space::kHost && x.stride >= x.cols; }

// Keys [first, first + kBlockKeys) of one head as block [dim][kBlockKeys], zero beyond the last row.
void lay_out_keys(TensorView k, int32_t column, int32_t dim, int32_t first, float* block) {
  const int32_t keys = std::min(kBlockKeys, k.rows - first);
  for (int32_t i = 0; i < keys; ++i) {
    const float* from = k.row<float>(first + i) + column;
    for (int32_t d = 0; d < dim; ++d) block[static_cast<int64_t>(d) * kBlockKeys + i] = from[d];
  }
  for (int32_t d = 0; d < dim; ++d) std::fill(block + d * kBlockKeys + keys, block + (d + 1) * kBlockKeys, 0.0f);
}

// The same rows of V as [rows][padded], zero beyond the head.
void lay_out_values(TensorView v, int32_t column, int32_t dim, int32_t padded, int32_t first, float* rows) {
  for (int32_t i = 0; i < std::min(kBlockKeys, v.rows - first); ++i) {
    const float* from = v.row<float>(first + i) + column;
    float* to = rows + static_cast<int64_t>(i) * padded;
    std::copy(from, from + dim, to);
    std::fill(to + dim, to + padded, 0.0f);
  }
}

}  // namespace

void CpuOps::attend_all(TensorView q, TensorView k, TensorView v, int32_t head_dim, TensorView out) {
  CHECK(is_activation(q) && is_activation(k) && is_activation(v) && is_activation(out));
  CHECK(head_dim > 0 && q.cols % head_dim == 0);
  CHECK(q.cols == k.cols && q.cols == v.cols && q.cols == out.cols);
  CHECK(q.rows == k.rows && q.rows == v.rows && q.rows == out.rows);
  const int32_t rows = q.rows, heads = q.cols / head_dim;
  if (rows == 0 || heads == 0) return;
  const int32_t padded = static_cast<int32_t>(round_up(head_dim, kernels_.lanes));
  const int64_t blocks = (rows + kBlockKeys - 1) / kBlockKeys;
  const int64_t head_keys = blocks * kBlockKeys * head_dim, head_values = blocks * kBlockKeys * padded;
  const int64_t head_bytes = (head_keys + head_values) * static_cast<int64_t>(sizeof(float));
  const int32_t together = static_cast<int32_t>(std::clamp<int64_t>(kHeadsBytesMax / head_bytes, 1, heads));
  CHECK(head_keys_.grow(together * head_keys) && head_values_.grow(together * head_values));
  for (AttentionScratch& scratch : attention_scratch_) {
    CHECK(scratch.scores.grow(kTaskQueries * kChunkKeys));
    CHECK(scratch.part.grow(kTaskQueries * padded));
    CHECK(scratch.total.grow(kTaskQueries * padded));
    scratch.part_states.resize(kTaskQueries);
  }

  const int64_t tasks_of_head = (rows + kTaskQueries - 1) / kTaskQueries;
  for (int32_t first = 0; first < heads; first += together) {
    const int32_t count = std::min(together, heads - first);
    pool_.run(count * blocks, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t h = i / blocks, block = i % blocks;
        const int32_t column = (first + static_cast<int32_t>(h)) * head_dim;
        const int32_t row = static_cast<int32_t>(block) * kBlockKeys;
        lay_out_keys(k, column, head_dim, row, head_keys_.data() + h * head_keys + block * kBlockKeys * head_dim);
        lay_out_values(v, column, head_dim, padded, row,
                       head_values_.data() + h * head_values + static_cast<int64_t>(row) * padded);
      }
    });
    pool_.run(count * tasks_of_head, 1, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t h = t / tasks_of_head;
        FullAttentionTask task;
        task.keys = head_keys_.data() + h * head_keys;
        task.values = head_values_.data() + h * head_values;
        task.rows = rows;
        task.dim = head_dim;
        task.padded = padded;
        task.first_query = static_cast<int32_t>(t % tasks_of_head) * kTaskQueries;
        task.queries = std::min(kTaskQueries, rows - task.first_query);
        task.column = (first + static_cast<int32_t>(h)) * head_dim;
        attend_block(task, q, out, attention_scratch_[static_cast<size_t>(worker)]);
      }
    });
  }
}

void CpuOps::attend_block(const FullAttentionTask& task, TensorView q, TensorView out, AttentionScratch& scratch) {
  const Staging staging = staging_of(task.queries, kernels_.tile_columns);
  const int64_t values = static_cast<int64_t>(task.queries) * task.padded;
  std::fill_n(scratch.total.data(), values, 0.0f);
  scratch.total_states.assign(static_cast<size_t>(task.queries), {-std::numeric_limits<float>::infinity(), 0.0f});
  for (int32_t first = 0; first < task.rows; first += kChunkKeys) {
    const int32_t keys = std::min(kChunkKeys, task.rows - first);
    score_chunk(task, staging, q, first, keys, scratch);
    std::fill_n(scratch.part.data(), values, 0.0f);
    add_values(task, staging, first, keys, scratch);
    for (int32_t i = 0; i < task.queries; ++i) {
      const int64_t at = static_cast<int64_t>(i) * task.padded;
      kernels_.softmax_combine(scratch.part.data() + at, scratch.part_states[static_cast<size_t>(i)], task.padded,
                               scratch.total.data() + at, &scratch.total_states[static_cast<size_t>(i)]);
    }
  }
  for (int32_t i = 0; i < task.queries; ++i) {
    kernels_.divide(scratch.total_states[static_cast<size_t>(i)].total,
                    scratch.total.data() + static_cast<int64_t>(i) * task.padded,
                    out.row<float>(task.first_query + i) + task.column, task.dim);
  }
}

// scores [queries, kChunkKeys]: exp(score - largest of the chunk); what lies beyond the last key weighs nothing.
void CpuOps::score_chunk(const FullAttentionTask& task, const Staging& staging, TensorView q, int32_t first,
                         int32_t keys, AttentionScratch& scratch) {
  const auto& kernels =
      kernels_.values[static_cast<size_t>(Format::kF32)];  // a sum of rows: here of K's, weighted by q
  const int32_t whole = static_cast<int32_t>(round_up(keys, kBlockKeys));
  float* scores = scratch.scores.data();
  for (int32_t i = 0; i < task.queries; ++i) std::fill_n(scores + static_cast<int64_t>(i) * kChunkKeys, whole, 0.0f);
  for (int32_t block = 0; block < whole; block += kBlockKeys) {
    ValuesArgs args;
    args.v = reinterpret_cast<const std::byte*>(task.keys + static_cast<int64_t>(first + block) * task.dim);
    args.dim = kBlockKeys;
    args.p_stride = q.stride;
    args.out_stride = kChunkKeys;
    args.first = 0;
    args.last = task.dim;
    for (int32_t p = 0; p < staging.panels; ++p) {
      const int32_t query = p * staging.columns;
      args.p = q.row<float>(task.first_query + query) + task.column;
      args.out = scores + static_cast<int64_t>(query) * kChunkKeys + block;
      kernels[static_cast<size_t>(staging.columns_of(p) - 1)](args);
    }
  }
  for (int32_t i = 0; i < task.queries; ++i) {
    float* row = scores + static_cast<int64_t>(i) * kChunkKeys;
    std::fill(row + keys, row + whole, -std::numeric_limits<float>::infinity());
    scratch.part_states[static_cast<size_t>(i)] = kernels_.softmax(row, whole);
  }
}

// part [queries, padded] += scores * values, keys ascending.
void CpuOps::add_values(const FullAttentionTask& task, const Staging& staging, int32_t first, int32_t keys,
                        AttentionScratch& scratch) {
  const auto& kernels = kernels_.values[static_cast<size_t>(Format::kF32)];
  for (int32_t block = 0; block < keys; block += kValueKeys) {
    ValuesArgs args;
    args.v = reinterpret_cast<const std::byte*>(task.values + static_cast<int64_t>(first + block) * task.padded);
    args.dim = task.padded;
    args.p_stride = kChunkKeys;
    args.out_stride = task.padded;
    args.first = 0;
    args.last = std::min(kValueKeys, keys - block);
    for (int32_t p = 0; p < staging.panels; ++p) {
      const int64_t query = static_cast<int64_t>(p) * staging.columns;
      args.p = scratch.scores.data() + query * kChunkKeys + block;
      args.out = scratch.part.data() + query * task.padded;
      kernels[static_cast<size_t>(staging.columns_of(p) - 1)](args);
    }
  }
}

}  // namespace lapidary
