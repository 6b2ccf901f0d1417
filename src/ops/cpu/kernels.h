// The inner loops of the CPU backend, one table per instruction set. Kernels take raw pointers and plain structs; they
// know nothing of threads, pages or tensors.
//
// The same bits: an output of a product is one vector of running sums over the input dimension in ascending order, one
// multiply-add per chunk, folded in a fixed order at the end. A tile only chooses which outputs are computed together,
// so the number of rows, the position in a tile and the split into pieces cannot be seen in a result.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace lapidary {

inline constexpr int32_t kTileOutputs = 4;     // weight rows of a tile
inline constexpr int32_t kTileColumnsMax = 6;  // activation rows of a tile, at most
inline constexpr int32_t kTileLanesMax = 16;
inline constexpr int32_t kLocalScoresMax = 64;  // rows in sight of local_attention, at most
inline constexpr int32_t kFormatsMax = 32;      // bound of the tables indexed by Format

// One tile: up to 4 weight rows against the rows of one panel, over one piece of the input dimension.
struct TileArgs {
  std::array<const std::byte*, kTileOutputs> weights{};  // at the start of the piece; all valid even if outputs < 4
  const void* panel = nullptr;                           // [chunks][columns][chunk values], zero beyond the end
  int32_t values = 0;     // of the piece; a multiple of the chunk unless the piece is the last
  float* sums = nullptr;  // [columns][4][lanes]: read unless first, written unless last
  bool first = true, last = true;
  float scale = 1.0f;  // of the results
  float* y = nullptr;  // y[column * y_stride + output]
  int64_t y_stride = 0;
  int32_t outputs = 0;                  // 1..4 are stored
  const std::byte* prefetch = nullptr;  // where the next tile's weights begin, or null
};

struct TileKernel {
  int32_t chunk = 0;                                              // values of the input dimension per step
  int32_t element_bytes = 0;                                      // of a panel
  std::array<void (*)(const TileArgs&), kTileColumnsMax> tile{};  // by columns - 1; null beyond what fits registers
  bool present() const { return chunk != 0; }
};

// out[c] += sum over slots of p[c][slot] * v[slot], slots ascending, for the rows of one page.
struct ValuesArgs {
  const std::byte* v = nullptr;  // [slots][dim]
  int32_t dim = 0;
  const float* p = nullptr;  // p[column * p_stride + slot]
  int64_t p_stride = 0;
  int32_t first = 0, last = 0;  // slots
  float* out = nullptr;         // out[column * out_stride + d]
  int64_t out_stride = 0;
};

// A softmax over part of the keys: sum of exp(score - largest), and the values weighted by it (not yet divided).
struct SoftmaxState {
  float largest, total;
};

// One head of one row: see Ops::local_attention. k and v point at the row itself, `stride` floats before it lies the
// row of distance 1, and so on.
struct LocalAttentionArgs {
  const float *q = nullptr, *q_scale = nullptr;  // [dim]
  const float *k = nullptr, *v = nullptr;
  int64_t k_stride = 0, v_stride = 0;
  const float* distances = nullptr;  // row d: the key of distance d
  int64_t distance_stride = 0;
  int32_t keys = 0, dim = 0;  // keys: 1..kLocalScoresMax
  float k_scale = 1.0f, cap = 0;
  float* out = nullptr;  // [dim]; may be q
};

struct CpuKernels {
  const char* name = nullptr;
  int32_t lanes = 0;
  int32_t tile_columns = 0;  // the most this level has registers for

  // By Format, f32 activations. Not present: decode rows to f32, then the kF32 entry.
  std::array<TileKernel, kFormatsMax> tile{};
  // bf16 weights against activations rounded to bf16; not present where the processor has no such instruction.
  TileKernel tile_bf16_pairs;
  // By Format, exact; null: the format's own scalar decode.
  std::array<void (*)(const std::byte* from, int64_t values, float* to), kFormatsMax> decode{};
  // By Format (of K and V) and columns - 1; null: decode the page to f32, then the kF32 entry.
  std::array<std::array<void (*)(const ValuesArgs&), kTileColumnsMax>, kFormatsMax> values{};

  void (*pack_f32)(const float* const* rows, int32_t columns, int32_t values, float* panel) = nullptr;
  void (*pack_bf16)(const float* const* rows, int32_t columns, int32_t values, uint16_t* panel) = nullptr;
  void (*encode_bf16)(const float* from, int64_t values, uint16_t* to) = nullptr;
  void (*encode_f16)(const float* from, int64_t values, uint16_t* to) = nullptr;

  // scores [count], count a multiple of kPagePositions -> exp(score - largest) in place.
  SoftmaxState (*softmax)(float* scores, int32_t count) = nullptr;
  // Adds the part (out, state) of later keys to (total_out, total_state).
  void (*softmax_combine)(const float* out, SoftmaxState state, int32_t dim, float* total_out,
                          SoftmaxState* total_state) = nullptr;

  void (*rms_norm)(const float* x, const float* weight, float eps, float* out, int32_t cols) = nullptr;
  void (*add_rms_norm)(const float* h, const float* weight, float eps, float* x, int32_t cols) = nullptr;
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, float* out,
                     int32_t cols) = nullptr;
  // x[i], x[i + half] for i < pairs.
  void (*rope)(float* x, const float* cos, const float* sin, int32_t pairs, int32_t half) = nullptr;
  void (*gelu_mul)(const float* gate, const float* up, float* out, int32_t count) = nullptr;
  void (*add)(const float* y, float* x, int32_t count) = nullptr;
  void (*scale)(float factor, const float* x, float* out, int32_t count) = nullptr;
  void (*divide)(float divisor, const float* x, float* out, int32_t count) = nullptr;
  void (*multiply)(const float* y, float* x, int32_t count) = nullptr;
  void (*clamp)(float low, float high, const float* x, float* out, int32_t count) = nullptr;
  void (*softcap)(float cap, float* x, int32_t count) = nullptr;
  void (*silu)(float* x, int32_t count) = nullptr;
  void (*glu)(const float* x, const float* gate, float* out, int32_t count) = nullptr;
  // out += w * x
  void (*multiply_add)(const float* w, const float* x, float* out, int32_t count) = nullptr;
  void (*local_attention)(const LocalAttentionArgs& args) = nullptr;

  // Loads every byte of a multiple of 256 and returns something that depends on them all: for measuring bandwidth.
  float (*read_all)(const std::byte* from, int64_t bytes) = nullptr;
};

// The tables. Calling into one is only allowed where the processor has the instructions: see levels.h.
extern const CpuKernels kBaselineKernels;
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
extern const CpuKernels kAvx512Bf16Kernels;

}  // namespace lapidary

#define LAPIDARY_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define LAPIDARY_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LAPIDARY_UNROLL _Pragma("GCC unroll 32")
#endif
