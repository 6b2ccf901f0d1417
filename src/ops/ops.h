// Ops: the vocabulary a Gemma 4 model is written in. Each entry gives its formula; ops/reference says it in plain
// double precision and is the oracle of every other backend. The model calls nothing else, so it is written once.
//
// Shapes: rows are tokens of this step over all sequences. Every output element has one order of accumulation, fixed by
// absolute indices, so that a row's result does not depend on the other rows, on how a prompt was cut, or on threads.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/view.h"
#include "ops/batch.h"
#include "quant/formats.h"

namespace lapidary {

// A per-column weight [cols] in f32; an empty view means "without".
using NormWeight = TensorView;

// Rotary embedding of one kind of layer. Pairs (i, i + head_dim / 2) for i < rotary_fraction * head_dim / 2 turn by
// position * theta^(-2 i / head_dim); the rest stay (proportional RoPE divides by the whole head_dim).
struct RopeSpec {
  float theta = 10'000.0f;
  float rotary_fraction = 1.0f;
};

// Frequencies of the rotating pairs, computed as the reference does: in f32, theta^(2i/head_dim), then its reciprocal.
std::vector<float> rope_frequencies(const RopeSpec& rope, int32_t head_dim);

// cos and sin of position * frequency; the angle is rounded to f32 as in the reference, the functions are exact to f32.
struct RopeAngle {
  float cos, sin;
};
RopeAngle rope_angle(int32_t position, float frequency);

// How K and V are kept. Each group (AttentionKind) has its own pages; a page holds kPagePositions positions of every
// layer of its group, K [kv_heads, head_dim] and V [kv_heads, head_dim] per position and layer.
struct KvLayerShape {
  int32_t head_dim = 0, kv_heads = 0;
};
struct KvGroup {
  int32_t pages = 0;
  std::vector<KvLayerShape> layers;
};
struct KvLayout {
  std::array<KvGroup, kAttentionKinds> groups;  // indexed by AttentionKind
};
int64_t kv_page_bytes(const KvGroup& group, DType type);

// One layer's K and V: its group and its index within the group's layers.
struct KvView {
  int32_t group = 0, index = 0, head_dim = 0, kv_heads = 0;
};

enum class Precision : uint8_t { kFast, kFull };

struct OpsOptions {
  int32_t threads = 0;                     // 0: one per physical core
  Precision precision = Precision::kFast;  // kFull: f32 activations against weights decoded to f32
  DType kv_type = DType::kBF16;            // kBF16, kF16 or kF32
};

// What values are limited to: [low, high], low <= high. Without bounds by default.
struct ClipRange {
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  bool unbounded() const { return low == -std::numeric_limits<float>::infinity() && high == -low; }
  bool operator==(const ClipRange&) const = default;
};

// A gated feed-forward network: down * (gelu(gate * x) * (up * x)). The dense one of a layer, or one expert's.
struct MlpWeights {
  QuantizedMatrix gate, up;  // [hidden, dim]
  QuantizedMatrix down;      // [dim, hidden]
};

// Attention of a row over itself and the few rows before it, with a learned key for each distance.
struct LocalAttention {
  int32_t heads = 0, head_dim = 0;
  int32_t keys = 0;    // rows in sight, the row itself included; at most kLocalKeysMax
  NormWeight q_scale;  // [head_dim], the same for every head
  float k_scale = 1.0f;
  float cap = 0;         // of the scores
  TensorView distances;  // [at least keys, heads * head_dim]: row d is the key of distance d
};
inline constexpr int32_t kLocalKeysMax = 64;

// What experts() writes to on the way. rows: the most rows of a call; active: experts of a row.
struct ExpertWorkspace {
  TensorView rows, pairs;  // [rows * active, 1] kI32: by expert, the rows that chose it and their places in chosen
  TensorView x, y;         // [rows, dim]: the rows of one expert, and what it makes of them
  TensorView gate, up;     // [rows, expert hidden]
  TensorView weights;      // [rows, 1]
};

// Host-made inputs of a step, in the backend's memory. Addresses are stable from step to step.
struct StepInputs {
  TensorView token_ids, positions, logit_rows;  // [rows, 1], [rows, 1], [logit rows, 1], kI32
  std::array<const AttentionPlan*, kAttentionKinds> plan{};
};

class Ops {
 public:
  virtual ~Ops() = default;

  // "cpu/avx512bf16, 2 threads": for logs and reports.
  virtual std::string description() const = 0;
  // The element type of activations: what allocate() should be asked for.
  virtual DType activation_type() const = 0;

  // --- memory, all before the first step ---
  // A zeroed [rows, cols] buffer that lives as long as this object. Errors: kExhausted.
  virtual Result<TensorView> allocate(int32_t rows, int32_t cols, DType type) = 0;
  // May repack or copy the matrix into the backend's own layout; w.blocks stays valid. Errors: kExhausted.
  virtual Result<void> prepare(QuantizedMatrix& w) = 0;
  // Takes the K/V memory. Called once. Errors: kExhausted, with the bytes asked for.
  virtual Result<void> reserve_kv(const KvLayout& layout) = 0;
  // Host <-> backend, f32 on the host side, x of any float dtype. values.size() == x.rows * x.cols.
  virtual void write(std::span<const float> values, TensorView x) = 0;
  virtual void read(TensorView x, std::span<float> values) = 0;
  // ids into x [ids.size(), 1] kI32.
  virtual void write_ids(std::span<const int32_t> ids, TensorView x) = 0;
  // The ids of x [ids.size(), 1] kI32, once everything before is done.
  virtual void read_ids(TensorView x, std::span<int32_t> ids) = 0;

  // --- one step ---
  // May be called again within a step, for some of its rows: what the earlier call returned is then no longer valid.
  virtual StepInputs upload(const Batch& batch, const AttentionRules& rules) = 0;
  // x[r] = table[ids[r]] * scale.   ids [rows, 1] kI32, every id in [0, table.out); x [rows, table.in]
  // Here and in add_rows the table need not have been prepared: its rows are then read where they lie.
  virtual void embed(TensorView ids, const QuantizedMatrix& table, float scale, TensorView x) = 0;
  // y[i] = x * w[i]^T; one x [rows, in], several matrices, so x is rounded or staged once.   y[i] [rows, w[i]->out]
  virtual void project(TensorView x, std::span<const QuantizedMatrix* const> w, std::span<const TensorView> y) = 0;
  // out = x / sqrt(mean(x^2) + eps) * w   per row; out may be x. Weights multiply directly: no 1 + w.
  virtual void rms_norm(TensorView x, NormWeight w, float eps, TensorView out) = 0;
  // out = (x - mean(x)) / sqrt(var(x) + eps) * w + b   per row, biased variance; out may be x
  virtual void layer_norm(TensorView x, NormWeight w, NormWeight b, float eps, TensorView out) = 0;
  // Every head of every row: rms_norm with w [head_dim], then turned to its row's position. heads [rows * n, head_dim];
  // positions [rows, 1]. In place.
  virtual void norm_rope(TensorView heads, NormWeight w, float eps, RopeSpec rope, TensorView positions) = 0;
  // Every head of every row: rms_norm with w [head_dim], then its first half turned to the row's x and its second half
  // to its y, each as a head of head_dim / 2 of its own: pairs (i, i + head_dim / 4) by x * theta^(-4 i / head_dim).
  // heads [rows * n, head_dim], head_dim a multiple of 4; x, y [rows, 1] kI32, not negative. In place.
  virtual void norm_rope_2d(TensorView heads, NormWeight w, float eps, float theta, TensorView x, TensorView y) = 0;
  // Stores k, v [rows, kv_heads * head_dim] at the rows' positions.
  virtual void kv_write(KvView kv, TensorView k, TensorView v, const AttentionPlan& plan) = 0;
  // out[r, head] = softmax(q . K^T) V over the row's keys; scale 1, no cap; query head h uses K/V head h / (heads /
  // kv_heads). q, out [rows, heads * head_dim]
  virtual void attention(TensorView q, KvView kv, const AttentionPlan& plan, TensorView out) = 0;
  // out[r, head] = softmax(q[r, head] . K[head]^T) V[head] over all rows; scale 1, no mask: every row sees every row.
  // q, k, v, out [rows, heads * head_dim]; out may be q. Takes memory in proportion to the rows.
  virtual void attend_all(TensorView q, TensorView k, TensorView v, int32_t head_dim, TensorView out) = 0;
  // out = gelu(gate) * up with gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)));   out may be gate
  virtual void gelu_mul(TensorView gate, TensorView up, TensorView out) = 0;
  // x += y
  virtual void add(TensorView y, TensorView x) = 0;
  // x[r] += b   b [1, cols] f32
  virtual void add_bias(NormWeight b, TensorView x) = 0;
  // x[r] += table[rows[r]]   rows [x.rows, 1] kI32
  virtual void add_rows(const QuantizedMatrix& table, TensorView rows, TensorView x) = 0;
  // x[r] *= w   w [1, cols] f32
  virtual void scale_columns(NormWeight w, TensorView x) = 0;
  // out[i] = mean of x[rows[i * n + j]] over j < n, in that order; n = rows.rows / out.rows. rows [out.rows * n, 1]
  // kI32
  virtual void mean_rows(TensorView x, TensorView rows, TensorView out) = 0;
  // x *= factor
  virtual void scale(float factor, TensorView x) = 0;
  // x = cap * tanh(x / cap)
  virtual void softcap(float cap, TensorView x) = 0;
  // out = min(max(x, low), high); out may be x. NaN stays NaN.
  virtual void clamp(TensorView x, ClipRange range, TensorView out) = 0;
  // x = x / (1 + exp(-x))
  virtual void silu(TensorView x) = 0;
  // out[c] = x[c] / (1 + exp(-x[out.cols + c])): values first, then their gates.   x [rows, 2 * out.cols]
  virtual void glu(TensorView x, TensorView out) = 0;
  // out[i] = x[rows[i]]   rows [out.rows, 1] kI32
  virtual void gather_rows(TensorView x, TensorView rows, TensorView out) = 0;
  // x[rows[i]] += weights[i] * y[i]   rows [y.rows, 1] kI32, no row twice; weights [y.rows, 1]; y may be overwritten
  virtual void scatter_add_rows(TensorView y, TensorView rows, TensorView weights, TensorView x) = 0;
  // The experts of each row: the `active` largest of p = softmax(logits[r]), the lowest among equals, and
  //   weights[r * active + k] = p[e] / (sum of p over the chosen) * expert_scale[e],   e = chosen[r * active + k],
  // in ascending e. The scale [experts] multiplies after the division: weights need not sum to 1.
  // logits [rows, experts]; chosen [rows * active, 1] kI32; weights [rows * active, 1]
  virtual void route(TensorView logits, NormWeight expert_scale, int32_t active, TensorView chosen,
                     TensorView weights) = 0;
  // A convolution along the rows that only looks back, each column by itself:
  //   out[t] = sum over i of w[i] * x[t - w.rows + 1 + i], rows before the first being zero.
  // w [taps, cols] f32; out is not x
  virtual void causal_conv(TensorView x, TensorView w, TensorView out) = 0;
  // The windows of a 3 x 3 convolution with stride 2 and a border of zeros, so that project() with the kernel
  // [out channels, channels * 9] is the convolution. x [times * bands, channels] holds a picture time after time, band
  // after band; with H = (bands + 1) / 2
  //   out[t * H + f, c * 9 + 3 * a + b] = x[(first + 2 t + a) * bands + 2 f - 1 + b, c], zero outside the picture.
  // out [windows * H, channels * 9]; first is -1 where the first window begins with the border
  virtual void unfold(TensorView x, int32_t bands, int32_t first, TensorView out) = 0;
  // Per head, over the rows s in (t - keys, t] that exist, all rows being one clip in order:
  //   score(t, s) = cap * tanh((q[t] * q_scale) . (k_scale * k[s] + distances[t - s]) / cap)
  //   out[t] = sum over s of softmax(score(t, .))[s] * v[s].   q, k, v, out [rows, heads * head_dim]; out may be q
  virtual void local_attention(const LocalAttention& how, TensorView q, TensorView k, TensorView v, TensorView out) = 0;
  // x = 0
  virtual void clear(TensorView x) = 0;
  // to = from, the same shape
  virtual void copy(TensorView from, TensorView to) = 0;

  // --- fused entries; default bodies in composed.cpp ---
  // x += rms_norm(h, w)   h may be overwritten
  virtual void add_rms_norm(TensorView h, NormWeight w, float eps, TensorView x);
  // out[r] = sum over k, in order, of weights[r * active + k] * expert[chosen[r * active + k]](x[r]), with chosen and
  // weights as route() made them.   x, out [rows, dim]; out may not be x
  virtual void experts(TensorView x, std::span<const MlpWeights> experts, TensorView chosen, TensorView weights,
                       const ExpertWorkspace& b, TensorView out);
  // A backend may record the step under `key` and replay it; the default just runs it.
  virtual void run_step(uint64_t key, const std::function<void()>& step);
};

}  // namespace lapidary
