// Products of activations and weights.
//
// Few rows (decoding): the weights are streamed once, in ranges of consecutive rows per thread, and meet all rows of
// activations while they are in registers. Many rows (prefill): blocks of 32 weight rows by 120 rows of activations,
// the input dimension in pieces whose panels stay in the first-level cache. Both run the same tiles, and a running sum
// crosses a piece unchanged, so the results are the same bits.
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "ops/cpu/cpu_impl.h"

namespace lapidary {
namespace {

constexpr int32_t kBlockOutputs = 32;
// Values of the input dimension per piece, as bytes of a panel row: 6 rows are 24 KiB of a 32 or 48 KiB cache. A
// multiple of every format's block.
constexpr int32_t kPieceBytes = 4096;
constexpr int32_t kPieceValues = kPieceBytes / 4;
// Decoded rows are this far apart, so that they do not fall into the same cache sets.
constexpr int32_t kDecodedStride = kPieceValues + 16;
// Up to this many panels the weights are used as they are read instead of being decoded once for all panels.
constexpr int32_t kFewPanels = 2;
constexpr int64_t kAheadBytes = 16 << 10;
constexpr int64_t kStreamBytes = 96 << 10;  // weights a thread takes at a time, at least

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// What to fetch while the tile at `output` is computed: the next tile, but not nearer than kAheadBytes; null where that
// would leave the matrix. One core read 88 % of its bandwidth at 16 KiB and beyond, 68 % at 2 KiB, 63 % without.
const std::byte* ahead_of(const QuantizedMatrix& w, int32_t output) {
  const int64_t row = row_bytes(w.format, w.in), tile = kTileOutputs * row;
  const int64_t at = output * row + std::max(tile, kAheadBytes);
  return at + tile <= static_cast<int64_t>(w.blocks.size()) ? w.blocks.data() + at : nullptr;
}

bool is_activation(TensorView x) { return x.dtype == DType::kF32 && x.space == Space::kHost && x.stride >= x.cols; }

}  // namespace

Result<void> CpuOps::prepare(QuantizedMatrix& w) {
  CHECK(static_cast<int64_t>(w.blocks.size()) == w.out * row_bytes(w.format, w.in));
  if (!grow_staging(w.in, kBlockRows)) {
    return Error{ErrorCode::kExhausted, fmt::format("no memory to stage {} rows of {} activations", kBlockRows, w.in)};
  }
  return {};
}

bool CpuOps::grow_staging(int32_t in, int32_t rows) {
  const int64_t values = round_up(in, 2 * kTileLanesMax) * rows;
  if (!staging_f32_.grow(values)) return false;
  if (kernels_.tile_bf16_pairs.present() && !staging_bf16_.grow(values)) return false;
  for (ProductScratch& scratch : product_scratch_) {
    if (!scratch.decoded.grow(kBlockOutputs * kDecodedStride)) return false;
    if (!scratch.sums.grow(kBlockRows * kBlockOutputs * kTileLanesMax)) return false;
  }
  return true;
}

void CpuOps::decode_values(const QuantizedMatrix& w, int64_t row, int64_t first, int64_t values, float* out) const {
  const std::byte* from = w.row(row) + row_bytes(w.format, first);
  const auto decode = kernels_.decode[static_cast<size_t>(w.format)];
  (decode != nullptr ? decode : format_info(w.format).decode)(from, values, out);
}

const TileKernel& CpuOps::kernel_for(Format format, bool& decoded) const {
  decoded = false;
  if (precision_ == Precision::kFast && format == Format::kBF16 && kernels_.tile_bf16_pairs.present()) {
    return kernels_.tile_bf16_pairs;
  }
  const TileKernel& own = kernels_.tile[static_cast<size_t>(format)];
  if (own.present()) return own;
  decoded = true;
  return kernels_.tile[static_cast<size_t>(Format::kF32)];
}

// As few panels as the registers allow, of equal size.
CpuOps::Staging CpuOps::staging_of(int32_t rows, int32_t tile_columns) {
  Staging staging{rows, (rows + tile_columns - 1) / tile_columns, 0};
  staging.columns = (rows + staging.panels - 1) / staging.panels;
  staging.panels = (rows + staging.columns - 1) / staging.columns;
  return staging;
}

void CpuOps::stage(TensorView x, const Staging& staging, const TileKernel& kernel, void* panels) {
  const int64_t padded = round_up(x.cols, kernel.chunk);
  const int64_t grain = std::max<int64_t>(1, (64 << 10) / (padded * staging.columns));
  pool_.run(staging.panels, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      std::array<const float*, kTileColumnsMax> rows{};
      const int32_t columns = staging.columns_of(static_cast<int32_t>(p));
      for (int32_t c = 0; c < columns; ++c) rows[static_cast<size_t>(c)] = x.row<float>(p * staging.columns + c);
      const int64_t at = p * staging.columns * padded;
      if (kernel.element_bytes == 2) {
        kernels_.pack_bf16(rows.data(), columns, x.cols, static_cast<uint16_t*>(panels) + at);
      } else {
        kernels_.pack_f32(rows.data(), columns, x.cols, static_cast<float*>(panels) + at);
      }
    }
  });
}

void CpuOps::project(TensorView x, std::span<const QuantizedMatrix* const> w, std::span<const TensorView> y) {
  CHECK(is_activation(x) && w.size() == y.size());
  if (x.rows == 0 || w.empty()) return;
  CHECK(grow_staging(x.cols, std::min(x.rows, kBlockRows)));
  products_.clear();
  for (size_t i = 0; i < w.size(); ++i) {
    CHECK(is_activation(y[i]) && w[i]->in == x.cols && y[i].rows == x.rows && y[i].cols == w[i]->out);
    Product product{w[i], y[i]};
    product.kernel = &kernel_for(w[i]->format, product.decoded);
    product.panels = product.kernel->element_bytes == 2 ? static_cast<const void*>(staging_bf16_.data())
                                                        : static_cast<const void*>(staging_f32_.data());
    products_.push_back(product);
  }
  for (int32_t first = 0; first < x.rows; first += kBlockRows) {
    project_rows(x, first, staging_of(std::min(kBlockRows, x.rows - first), kernels_.tile_columns));
  }
}

void CpuOps::project_rows(TensorView x, int32_t first_row, const Staging& staging) {
  const TensorView rows = row_range(x, first_row, staging.rows);
  const TileKernel &f32 = kernels_.tile[static_cast<size_t>(Format::kF32)], &pairs = kernels_.tile_bf16_pairs;
  const auto uses = [&](int32_t bytes) {
    return std::any_of(products_.begin(), products_.end(),
                       [&](const Product& p) { return p.kernel->element_bytes == bytes; });
  };
  if (uses(f32.element_bytes)) stage(rows, staging, f32, staging_f32_.data());
  if (uses(2)) stage(rows, staging, pairs, staging_bf16_.data());

  // Few rows: a block is one tile high and threads take long runs of them. Many rows: a block is a task of its own.
  const bool few = staging.panels <= kFewPanels;
  const int32_t block_outputs = few ? kTileOutputs : kBlockOutputs;
  int64_t blocks = 0, bytes = 0;
  for (Product& product : products_) {
    product.first_block = blocks;
    product.blocks = (product.w->out + block_outputs - 1) / block_outputs;
    blocks += product.blocks;
    bytes += product.w->out * row_bytes(product.w->format, product.w->in);
  }
  int64_t grain = 1;
  if (few) {
    const int64_t run_bytes = std::max<int64_t>(kStreamBytes, bytes / (16 * pool_.threads()));
    grain = std::max<int64_t>(1, run_bytes * blocks / std::max<int64_t>(1, bytes));
  }
  pool_.run(blocks, grain, [&](int64_t begin, int64_t end, int worker) {
    for (const Product& product : products_) {
      const int64_t from = std::max(begin, product.first_block);
      const int64_t to = std::min(end, product.first_block + product.blocks);
      for (int64_t b = from; b < to; ++b) {
        const int32_t output = static_cast<int32_t>(b - product.first_block) * block_outputs;
        const int32_t outputs = std::min(block_outputs, product.w->out - output);
        project_block(product, first_row, output, outputs, few, staging, worker);
      }
    }
  });
}

void CpuOps::project_block(const Product& product, int32_t first_row, int32_t first_output, int32_t outputs, bool few,
                           const Staging& staging, int worker) {
  const QuantizedMatrix& w = *product.w;
  const bool f32_panels = product.kernel->element_bytes == 4;
  // bf16 and f16 against f32 activations: worth decoding once where many panels follow.
  const bool decoded = product.decoded || (!few && f32_panels && w.format != Format::kF32);
  const TileKernel& kernel = decoded ? kernels_.tile[static_cast<size_t>(Format::kF32)] : *product.kernel;
  ProductScratch& scratch = product_scratch_[static_cast<size_t>(worker)];

  const int32_t piece_values = few && !decoded ? w.in : kPieceBytes / kernel.element_bytes;
  const int64_t padded = round_up(w.in, kernel.chunk);
  const int32_t groups = (outputs + kTileOutputs - 1) / kTileOutputs;
  CHECK(staging.panels * groups * static_cast<int64_t>(staging.columns) * kTileOutputs * kernels_.lanes <=
        scratch.sums.count());

  for (int32_t first = 0; first < w.in; first += piece_values) {
    const int32_t values = std::min(piece_values, w.in - first);
    const int64_t values_bytes = decoded ? 0 : row_bytes(w.format, first);
    if (decoded) {
      for (int32_t o = 0; o < outputs; ++o) {
        decode_values(w, first_output + o, first, values, scratch.decoded.data() + o * kDecodedStride);
      }
    }
    for (int32_t p = 0; p < staging.panels; ++p) {
      const int32_t columns = staging.columns_of(p);
      const int64_t at = (p * staging.columns * padded + static_cast<int64_t>(first) * columns) * kernel.element_bytes;
      const int32_t row = first_row + p * staging.columns;
      TileArgs args;
      args.panel = static_cast<const std::byte*>(product.panels) + at;
      args.values = values;
      args.first = first == 0;
      args.last = first + values == w.in;
      args.scale = w.scale;
      args.y_stride = product.y.stride;
      for (int32_t g = 0; g < groups; ++g) {
        const int32_t output = g * kTileOutputs;
        args.outputs = std::min(kTileOutputs, outputs - output);
        for (int32_t o = 0; o < kTileOutputs; ++o) {
          const int32_t used = output + std::min(o, args.outputs - 1);  // a short tile repeats its last row
          args.weights[static_cast<size_t>(o)] =
              decoded ? reinterpret_cast<const std::byte*>(scratch.decoded.data() + used * kDecodedStride)
                      : w.row(first_output + used) + values_bytes;
        }
        if (few && p == 0 && !decoded) args.prefetch = ahead_of(w, first_output + output);
        args.sums = scratch.sums.data() +
                    (static_cast<int64_t>(p) * groups + g) * staging.columns * kTileOutputs * kernels_.lanes;
        args.y = product.y.row<float>(row) + first_output + output;
        kernel.tile[static_cast<size_t>(columns - 1)](args);
      }
    }
  }
}

}  // namespace lapidary
