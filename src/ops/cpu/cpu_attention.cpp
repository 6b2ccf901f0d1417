// Keys, values and attention.
//
// All query heads that share a K/V head, and several rows of a sequence, go through the keys together, so K and V are
// read once. Keys are taken in chunks of 512 positions at multiples of 512: each chunk gives a softmax of its own, and
// the chunks are joined in order. Where a chunk begins depends on positions alone, and within it every sum runs over
// ascending positions, so a row's result does not depend on the rows beside it or on who computed which chunk.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "ops/cpu/cpu_impl.h"

namespace lapidary {
namespace {

constexpr int32_t kChunkPositions = 512;
constexpr int32_t kColumnsPerTask = 48;        // query rows times heads; at least one row
constexpr int64_t kPartsBytesMax = 128 << 20;  // results of chunks waiting to be joined
// With more panels than this a page is decoded once instead of once per panel.
constexpr int32_t kFewPanels = 2;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

struct Range {
  int32_t begin, end;
  bool empty() const { return begin >= end; }
  bool operator==(const Range&) const = default;
};

Range intersect(int32_t begin, int32_t end, int32_t from, int32_t to) {
  return {std::max(begin, from), std::min(end, to)};
}

}  // namespace

Result<void> CpuOps::reserve_kv(const KvLayout& layout) {
  CHECK(!kv_reserved_);
  for (size_t g = 0; g < layout.groups.size(); ++g) {
    const KvGroup& shape = layout.groups[g];
    CHECK(shape.pages >= 0);
    KvPages& group = kv_[g];
    int64_t offset = 0;
    for (const KvLayerShape& l : shape.layers) {
      CHECK(l.head_dim > 0 && l.kv_heads > 0);
      group.layers.push_back({offset, l.head_dim, l.kv_heads});
      offset += 2LL * l.head_dim * l.kv_heads * kPagePositions * dtype_bytes(kv_type_);
    }
    group.pages = shape.pages;
    group.page_bytes = kv_page_bytes(shape, kv_type_);
    CHECK(offset == group.page_bytes);
    int64_t bytes = 0;
    if (__builtin_mul_overflow(group.page_bytes, static_cast<int64_t>(group.pages), &bytes)) {
      return Error{ErrorCode::kExhausted,
                   fmt::format("no memory for {} K/V pages of {} bytes", group.pages, group.page_bytes)};
    }
    ASSIGN_OR_RETURN(group.data, memory_.reserve(bytes, fmt::format("{} K/V pages", group.pages)));
  }
  kv_reserved_ = true;
  return {};
}

const CpuOps::KvLayer& CpuOps::kv_layer(KvView kv) const {
  CHECK(kv.group >= 0 && kv.group < kAttentionKinds);
  const std::vector<KvLayer>& layers = kv_[static_cast<size_t>(kv.group)].layers;
  CHECK(kv.index >= 0 && kv.index < static_cast<int32_t>(layers.size()));
  const KvLayer& layer = layers[static_cast<size_t>(kv.index)];
  CHECK(layer.head_dim == kv.head_dim && layer.kv_heads == kv.kv_heads);
  return layer;
}

// [kPagePositions, head_dim] of one head in a page.
std::byte* CpuOps::kv_head(const AttentionCall& call, int32_t page, int32_t kv_head, bool values) const {
  const KvLayer& l = *call.layer;
  const int64_t head_bytes = static_cast<int64_t>(kPagePositions) * l.head_dim * dtype_bytes(kv_type_);
  CHECK(page >= 0 && page < call.pages->pages);
  return call.pages->data + page * call.pages->page_bytes + l.offset +
         (kv_head + (values ? l.kv_heads : 0)) * head_bytes;
}

void CpuOps::kv_write(KvView kv, TensorView k, TensorView v, const AttentionPlan& plan) {
  const KvLayer& l = kv_layer(kv);
  const int32_t width = l.kv_heads * l.head_dim, dim = l.head_dim;
  CHECK(k.dtype == DType::kF32 && v.dtype == DType::kF32 && k.cols == width && v.cols == width);
  CHECK(k.rows == v.rows && k.rows == static_cast<int32_t>(plan.rows.size()));
  AttentionCall call;
  call.pages = &kv_[static_cast<size_t>(kv.group)];
  call.layer = &l;
  const auto encode = [&](const float* from, std::byte* to) {
    switch (kv_format_) {
      case Format::kBF16:
        return kernels_.encode_bf16(from, dim, reinterpret_cast<uint16_t*>(to));
      case Format::kF16:
        return kernels_.encode_f16(from, dim, reinterpret_cast<uint16_t*>(to));
      case Format::kF32:
        std::copy(from, from + dim, reinterpret_cast<float*>(to));
    }
  };
  pool_.run(k.rows, std::max(1, 8192 / width), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const AttentionRow& row = plan.rows[static_cast<size_t>(r)];
      const int32_t page = plan.page_of(row.table, row.position);
      const int64_t slot_bytes = static_cast<int64_t>(row.position % kPagePositions) * dim * dtype_bytes(kv_type_);
      for (int32_t h = 0; h < l.kv_heads; ++h) {
        encode(k.row<float>(r) + h * dim, kv_head(call, page, h, false) + slot_bytes);
        encode(v.row<float>(r) + h * dim, kv_head(call, page, h, true) + slot_bytes);
      }
    }
  });
}

void CpuOps::plan_tasks(const AttentionCall& call) {
  tasks_.clear();
  const std::vector<AttentionRow>& rows = call.plan->rows;
  const int32_t count = static_cast<int32_t>(rows.size());
  const int32_t rows_max = std::max(1, kColumnsPerTask / call.group);
  for (int32_t first = 0; first < count;) {
    const AttentionRow& head = rows[static_cast<size_t>(first)];
    AttentionTask task{first, 0, 0, head.begin, head.end};
    while (first < count && task.rows < rows_max && rows[static_cast<size_t>(first)].table == head.table) {
      const AttentionRow& row = rows[static_cast<size_t>(first++)];
      CHECK(row.begin >= 0 && row.begin < row.end);
      task.begin = std::min(task.begin, row.begin);
      task.end = std::max(task.end, row.end);
      ++task.rows;
    }
    task.first_chunk = task.begin / kChunkPositions;
    task.chunks = (task.end - 1) / kChunkPositions + 1 - task.first_chunk;
    for (int32_t h = 0; h < call.layer->kv_heads; ++h) {
      task.kv_head = h;
      tasks_.push_back(task);
    }
  }
}

// The queries of a task as panels: column row * group + head.
void CpuOps::stage_queries(const AttentionCall& call, const AttentionTask& task, AttentionScratch& scratch) {
  const int32_t dim = call.layer->head_dim, columns = task.rows * call.group;
  const Staging staging = staging_of(columns, kernels_.tile_columns);
  scratch.rows.clear();
  for (int32_t r = 0; r < task.rows; ++r) {
    const float* heads = call.q.row<float>(task.first_row + r) + static_cast<int64_t>(task.kv_head) * call.group * dim;
    for (int32_t h = 0; h < call.group; ++h) scratch.rows.push_back(heads + h * dim);
  }
  const int64_t padded = round_up(dim, kernels_.lanes);
  for (int32_t p = 0; p < staging.panels; ++p) {
    kernels_.pack_f32(scratch.rows.data() + p * staging.columns, staging.columns_of(p), dim,
                      scratch.panels.data() + p * staging.columns * padded);
  }
}

// out [columns, head_dim] and states [columns]: the softmax of the chunk's keys, and the values weighted by it. A row
// that sees none of them gets a state of total 0.
void CpuOps::attend_chunk(const AttentionCall& call, const AttentionTask& task, int32_t chunk,
                          AttentionScratch& scratch, float* out, SoftmaxState* states) {
  const int32_t dim = call.layer->head_dim, columns = task.rows * call.group;
  const Staging staging = staging_of(columns, kernels_.tile_columns);
  const int64_t padded = round_up(dim, kernels_.lanes);
  const int32_t chunk_begin = chunk * kChunkPositions;
  const Range keys = intersect(task.begin, task.end, chunk_begin, chunk_begin + kChunkPositions);
  const int32_t table = call.plan->rows[static_cast<size_t>(task.first_row)].table;
  const int64_t position_bytes = static_cast<int64_t>(dim) * dtype_bytes(kv_type_);
  float* scores = scratch.scores.data();
  const auto row_of = [&](int32_t column) -> const AttentionRow& {
    return call.plan->rows[static_cast<size_t>(task.first_row + column / call.group)];
  };

  Format format = kv_format_;
  const size_t own = static_cast<size_t>(kv_format_), f32 = static_cast<size_t>(Format::kF32);
  const bool decoded = kv_format_ != Format::kF32 && (staging.panels > kFewPanels || !kernels_.tile[own].present());
  if (decoded) format = Format::kF32;
  const int64_t used_bytes = decoded ? static_cast<int64_t>(dim) * 4 : position_bytes;
  const auto page_data = [&](int32_t page_begin, bool values) -> const std::byte* {
    const std::byte* data = kv_head(call, call.plan->page_of(table, page_begin), task.kv_head, values);
    if (!decoded) return data;
    const auto decode = kernels_.decode[own] != nullptr ? kernels_.decode[own] : format_info(kv_format_).decode;
    decode(data, static_cast<int64_t>(kPagePositions) * dim, scratch.page.data());
    return reinterpret_cast<const std::byte*>(scratch.page.data());
  };

  const int32_t first_page = keys.begin / kPagePositions * kPagePositions;
  const TileKernel& kernel = kernels_.tile[decoded ? f32 : own];
  for (int32_t page = first_page; page < keys.end; page += kPagePositions) {
    const std::byte* k = page_data(page, false);
    for (int32_t p = 0; p < staging.panels; ++p) {
      const int32_t first = p * staging.columns, count = staging.columns_of(p);
      TileArgs args;
      args.panel = scratch.panels.data() + first * padded;
      args.values = dim;
      args.y_stride = kChunkPositions;
      args.outputs = kTileOutputs;
      for (int32_t slot = 0; slot < kPagePositions; slot += kTileOutputs) {
        for (int32_t o = 0; o < kTileOutputs; ++o) {
          args.weights[static_cast<size_t>(o)] = k + (slot + o) * used_bytes;
        }
        args.y = scores + static_cast<int64_t>(first) * kChunkPositions + (page - chunk_begin) + slot;
        kernel.tile[static_cast<size_t>(count - 1)](args);
      }
    }
  }

  // Whole pages are weighted, so lanes are positions; what a row does not see counts as -infinity.
  for (int32_t c = 0; c < columns; ++c) {
    const AttentionRow& row = row_of(c);
    const Range seen = intersect(row.begin, row.end, chunk_begin, chunk_begin + kChunkPositions);
    if (seen.empty()) {
      states[c] = {-std::numeric_limits<float>::infinity(), 0.0f};
      continue;
    }
    float* s = scores + static_cast<int64_t>(c) * kChunkPositions;
    const int32_t begin = seen.begin - chunk_begin, end = seen.end - chunk_begin;
    const int32_t from = begin / kPagePositions * kPagePositions;
    const int32_t to = static_cast<int32_t>(round_up(end, kPagePositions));
    std::fill(s + from, s + begin, -std::numeric_limits<float>::infinity());
    std::fill(s + end, s + to, -std::numeric_limits<float>::infinity());
    states[c] = kernels_.softmax(s + from, to - from);
  }

  std::fill(out, out + static_cast<int64_t>(columns) * dim, 0.0f);
  for (int32_t page = first_page; page < keys.end; page += kPagePositions) {
    ValuesArgs args;
    args.v = page_data(page, true);
    args.dim = dim;
    args.p_stride = kChunkPositions;
    args.out_stride = dim;
    const auto slots = [&](int32_t column) {
      const Range seen = intersect(row_of(column).begin, row_of(column).end, page, page + kPagePositions);
      return Range{seen.begin - page, seen.end - page};
    };
    for (int32_t p = 0; p < staging.panels; ++p) {
      // Neighbouring columns that see the same slots go together; a value out of sight is never multiplied, even by 0.
      const int32_t end = p * staging.columns + staging.columns_of(p);
      int32_t next = 0;
      for (int32_t first = p * staging.columns; first < end; first = next) {
        const Range range = slots(first);
        for (next = first + 1; next < end && slots(next) == range; ++next) {
        }
        if (range.empty()) continue;
        args.first = range.begin;
        args.last = range.end;
        args.p = scores + static_cast<int64_t>(first) * kChunkPositions + (page - chunk_begin);
        args.out = out + static_cast<int64_t>(first) * dim;
        kernels_.values[static_cast<size_t>(format)][static_cast<size_t>(next - first - 1)](args);
      }
    }
  }
}

void CpuOps::start_total(const AttentionCall& call, const AttentionTask& task, AttentionScratch& scratch) {
  const int64_t columns = static_cast<int64_t>(task.rows) * call.group;
  std::fill_n(scratch.total.data(), columns * call.layer->head_dim, 0.0f);
  scratch.total_states.assign(static_cast<size_t>(columns), {-std::numeric_limits<float>::infinity(), 0.0f});
}

void CpuOps::combine_chunk(const AttentionCall& call, const AttentionTask& task, int32_t chunk, const float* out,
                           const SoftmaxState* states, AttentionScratch& scratch) {
  const int32_t dim = call.layer->head_dim;
  for (int32_t c = 0; c < task.rows * call.group; ++c) {
    const AttentionRow& row = call.plan->rows[static_cast<size_t>(task.first_row + c / call.group)];
    const int32_t begin = chunk * kChunkPositions;
    if (intersect(row.begin, row.end, begin, begin + kChunkPositions).empty()) continue;
    const int64_t at = static_cast<int64_t>(c) * dim;
    kernels_.softmax_combine(out + at, states[c], dim, scratch.total.data() + at,
                             &scratch.total_states[static_cast<size_t>(c)]);
  }
}

void CpuOps::finish_total(const AttentionCall& call, const AttentionTask& task, AttentionScratch& scratch) {
  const int32_t dim = call.layer->head_dim;
  for (int32_t c = 0; c < task.rows * call.group; ++c) {
    float* to = call.out.row<float>(task.first_row + c / call.group) +
                (static_cast<int64_t>(task.kv_head) * call.group + c % call.group) * dim;
    kernels_.divide(scratch.total_states[static_cast<size_t>(c)].total,
                    scratch.total.data() + static_cast<int64_t>(c) * dim, to, dim);
  }
}

void CpuOps::attention(TensorView q, KvView kv, const AttentionPlan& plan, TensorView out) {
  AttentionCall call{q, out, &plan, nullptr, &kv_layer(kv)};
  call.pages = &kv_[static_cast<size_t>(kv.group)];
  const int32_t dim = call.layer->head_dim, width = call.layer->kv_heads * dim;
  CHECK(q.dtype == DType::kF32 && out.dtype == DType::kF32 && q.cols % width == 0 && q.cols == out.cols);
  CHECK(q.rows == out.rows && q.rows == static_cast<int32_t>(plan.rows.size()));
  call.group = q.cols / width;
  if (q.rows == 0 || call.group == 0) return;
  plan_tasks(call);

  const int64_t columns = std::max(kColumnsPerTask, call.group);
  for (AttentionScratch& scratch : attention_scratch_) {
    CHECK(scratch.panels.grow(columns * round_up(dim, kTileLanesMax)));
    CHECK(scratch.scores.grow(columns * kChunkPositions));
    CHECK(scratch.part.grow(columns * dim));
    CHECK(scratch.total.grow(columns * dim));
    CHECK(scratch.page.grow(static_cast<int64_t>(kPagePositions) * dim));
    scratch.part_states.resize(static_cast<size_t>(columns));
  }

  // Too few tasks for the threads (one long sequence being decoded): the chunks of a task are shared out as well.
  int64_t chunks = 0, columns_max = 0;
  for (AttentionTask& task : tasks_) {
    task.first_part = chunks;
    chunks += task.chunks;
    columns_max = std::max<int64_t>(columns_max, static_cast<int64_t>(task.rows) * call.group);
  }
  const int64_t tasks = static_cast<int64_t>(tasks_.size());
  const int64_t parts_bytes = chunks * columns_max * dim * static_cast<int64_t>(sizeof(float));
  const bool split =
      pool_.threads() > 1 && tasks < 4 * pool_.threads() && chunks > tasks && parts_bytes <= kPartsBytesMax;

  if (!split) {
    // Work too small to wake another thread for: a few microseconds of multiply-adds.
    const int64_t positions = static_cast<int64_t>(plan.rows.back().end) * q.rows;
    const int64_t grain = positions * q.cols < (1 << 17) ? tasks : 1;
    pool_.run(tasks, grain, [&](int64_t begin, int64_t end, int worker) {
      AttentionScratch& scratch = attention_scratch_[static_cast<size_t>(worker)];
      for (int64_t t = begin; t < end; ++t) {
        const AttentionTask& task = tasks_[static_cast<size_t>(tasks - 1 - t)];  // the longest come last in a prompt
        stage_queries(call, task, scratch);
        start_total(call, task, scratch);
        for (int32_t c = task.first_chunk; c < task.first_chunk + task.chunks; ++c) {
          attend_chunk(call, task, c, scratch, scratch.part.data(), scratch.part_states.data());
          combine_chunk(call, task, c, scratch.part.data(), scratch.part_states.data(), scratch);
        }
        finish_total(call, task, scratch);
      }
    });
    return;
  }

  CHECK(parts_.grow(chunks * columns_max * dim));
  part_states_.resize(static_cast<size_t>(chunks * columns_max));
  const auto part_out = [&](int64_t part) { return parts_.data() + part * columns_max * dim; };
  const auto part_state = [&](int64_t part) { return part_states_.data() + part * columns_max; };
  pool_.run(chunks, 1, [&](int64_t begin, int64_t end, int worker) {
    AttentionScratch& scratch = attention_scratch_[static_cast<size_t>(worker)];
    for (int64_t part = begin; part < end; ++part) {
      const AttentionTask& task = *std::prev(std::upper_bound(
          tasks_.begin(), tasks_.end(), part, [](int64_t p, const AttentionTask& t) { return p < t.first_part; }));
      stage_queries(call, task, scratch);
      const int32_t chunk = task.first_chunk + static_cast<int32_t>(part - task.first_part);
      attend_chunk(call, task, chunk, scratch, part_out(part), part_state(part));
    }
  });
  pool_.run(tasks, 4, [&](int64_t begin, int64_t end, int worker) {
    AttentionScratch& scratch = attention_scratch_[static_cast<size_t>(worker)];
    for (int64_t t = begin; t < end; ++t) {
      const AttentionTask& task = tasks_[static_cast<size_t>(t)];
      start_total(call, task, scratch);
      for (int32_t c = 0; c < task.chunks; ++c) {
        const int64_t part = task.first_part + c;
        combine_chunk(call, task, task.first_chunk + c, part_out(part), part_state(part), scratch);
      }
      finish_total(call, task, scratch);
    }
  });
}

}  // namespace lapidary
