// The parts of attention that are not a product of rows: softmax over a piece of the keys, the weighted sum of values,
// and the joining of pieces. Included after tile-inl.h and math-inl.h.

// kVectors vectors of the head starting at d, for all columns: V is read once.
template <class W, int kColumns, int kVectors>
LAPIDARY_INLINE void values_block(const ValuesArgs& args, int d) {
  F32 sums[kColumns][kVectors];
  LAPIDARY_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    LAPIDARY_UNROLL
    for (int i = 0; i < kVectors; ++i) sums[c][i] = load(args.out + c * args.out_stride + d + i * kLanes);
  }
  const int64_t row_bytes = static_cast<int64_t>(args.dim) * (W::kWeightBytes / kLanes);
  const std::byte* v = args.v + args.first * row_bytes + d * static_cast<int64_t>(W::kWeightBytes / kLanes);
  for (int slot = args.first; slot < args.last; ++slot, v += row_bytes) {
    F32 lanes[kVectors];
    LAPIDARY_UNROLL
    for (int i = 0; i < kVectors; ++i) lanes[i] = W::load_chunk(v + i * W::kWeightBytes);
    LAPIDARY_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const F32 p = splat(args.p[c * args.p_stride + slot]);
      LAPIDARY_UNROLL
      for (int i = 0; i < kVectors; ++i) sums[c][i] = fma(p, lanes[i], sums[c][i]);
    }
  }
  LAPIDARY_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    LAPIDARY_UNROLL
    for (int i = 0; i < kVectors; ++i) store(args.out + c * args.out_stride + d + i * kLanes, sums[c][i]);
  }
}

// The last d .. dim, fewer values than a vector.
template <class W, int kColumns>
LAPIDARY_INLINE void values_tail(const ValuesArgs& args, int d) {
  const int tail = args.dim - d;
  const int64_t row_bytes = static_cast<int64_t>(args.dim) * (W::kWeightBytes / kLanes);
  for (int c = 0; c < kColumns; ++c) {
    float* out = args.out + c * args.out_stride + d;
    F32 sums = load_first(out, tail);
    const std::byte* v = args.v + args.first * row_bytes + d * static_cast<int64_t>(W::kWeightBytes / kLanes);
    for (int slot = args.first; slot < args.last; ++slot, v += row_bytes) {
      sums = fma(splat(args.p[c * args.p_stride + slot]), W::load_tail(v, tail), sums);
    }
    store_first(out, sums, tail);
  }
}

template <class W, int kColumns>
void values(const ValuesArgs& args) {
  constexpr int kVectors = 4;
  int d = 0;
  for (; d + kVectors * kLanes <= args.dim; d += kVectors * kLanes) values_block<W, kColumns, kVectors>(args, d);
  for (; d + kLanes <= args.dim; d += kLanes) values_block<W, kColumns, 1>(args, d);
  if (d < args.dim) values_tail<W, kColumns>(args, d);
}

template <class W>
constexpr std::array<void (*)(const ValuesArgs&), kTileColumnsMax> values_kernels() {
  std::array<void (*)(const ValuesArgs&), kTileColumnsMax> kernels{};
  kernels[0] = values<W, 1>;
  if constexpr (kColumnsMax >= 2) kernels[1] = values<W, 2>;
  if constexpr (kColumnsMax >= 3) kernels[2] = values<W, 3>;
  if constexpr (kColumnsMax >= 4) kernels[3] = values<W, 4>;
  if constexpr (kColumnsMax >= 5) kernels[4] = values<W, 5>;
  if constexpr (kColumnsMax >= 6) kernels[5] = values<W, 6>;
  return kernels;
}

// Lanes are positions modulo the vector, because pieces begin at a page: slots out of sight hold -infinity, whose
// weight 0 leaves every sum as it is.
SoftmaxState softmax(float* scores, int32_t count) {
  F32 largest = splat(-__builtin_inff());
  for (int32_t i = 0; i < count; i += kLanes) largest = max(load(scores + i), largest);
  const float top = largest_lane(largest);
  const F32 shift = splat(top);
  F32 total = zeros();
  for (int32_t i = 0; i < count; i += kLanes) {
    const F32 weight = exp(load(scores + i) - shift);
    store(scores + i, weight);
    total = total + weight;
  }
  return {top, sum(total)};
}

void softmax_combine(const float* out, SoftmaxState state, int32_t dim, float* total_out, SoftmaxState* total_state) {
  const float largest = state.largest > total_state->largest ? state.largest : total_state->largest;
  float factors[kLanes];
  store(factors, exp(splat(total_state->largest - largest)));
  const F32 before = splat(factors[0]);
  store(factors, exp(splat(state.largest - largest)));
  const F32 part = splat(factors[0]);
  store(factors, fma(splat(state.total), part, splat(total_state->total) * before));
  *total_state = {largest, factors[0]};
  int32_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    store(total_out + d, fma(load(out + d), part, load(total_out + d) * before));
  }
  if (d < dim) {
    const int tail = dim - d;
    store_first(total_out + d, fma(load_first(out + d, tail), part, load_first(total_out + d, tail) * before), tail);
  }
}
