// Products, written once for every vector width. Included inside a namespace and a target region, after a vector_*.h.

// How a chunk of weights becomes lanes, and how it meets a chunk of a panel: one running sum per output.
struct WeightsF32 {
  static constexpr int kChunk = kLanes, kElementBytes = 4, kWeightBytes = 4 * kLanes;
  using Lanes = F32;
  using Element = float;
  static LAPIDARY_INLINE Lanes load_chunk(const std::byte* from) { return load(reinterpret_cast<const float*>(from)); }
  static LAPIDARY_INLINE Lanes load_tail(const std::byte* from, int n) {
    return load_first(reinterpret_cast<const float*>(from), n);
  }
  static LAPIDARY_INLINE F32 step(Lanes w, const float* x, F32 sums) { return fma(w, load(x), sums); }
};

struct WeightsBF16 : WeightsF32 {
  static constexpr int kWeightBytes = 2 * kLanes;
  static LAPIDARY_INLINE Lanes load_chunk(const std::byte* from) { return load_bf16(from); }
  static LAPIDARY_INLINE Lanes load_tail(const std::byte* from, int n) { return load_bf16_first(from, n); }
};

template <class W, int kColumns>
void tile(const TileArgs& args) {
  using Element = typename W::Element;
  const std::byte* w[kTileOutputs] = {args.weights[0], args.weights[1], args.weights[2], args.weights[3]};
  const Element* x = static_cast<const Element*>(args.panel);
  F32 sums[kColumns][kTileOutputs];
  LAPIDARY_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    LAPIDARY_UNROLL
    for (int o = 0; o < kTileOutputs; ++o) {
      sums[c][o] = args.first ? zeros() : load(args.sums + (c * kTileOutputs + o) * kLanes);
    }
  }
  const int chunks = args.values / W::kChunk, tail = args.values % W::kChunk;
  const std::byte* ahead = args.prefetch;
  for (int i = 0; i < chunks; ++i) {
    if (ahead != nullptr) {
      LAPIDARY_UNROLL
      for (int line = 0; line < kTileOutputs * W::kWeightBytes; line += 64) prefetch(ahead + line);
      ahead += kTileOutputs * W::kWeightBytes;
    }
    typename W::Lanes lanes[kTileOutputs];
    LAPIDARY_UNROLL
    for (int o = 0; o < kTileOutputs; ++o) lanes[o] = W::load_chunk(w[o] + i * static_cast<int64_t>(W::kWeightBytes));
    LAPIDARY_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      LAPIDARY_UNROLL
      for (int o = 0; o < kTileOutputs; ++o) sums[c][o] = W::step(lanes[o], x + c * W::kChunk, sums[c][o]);
    }
    x += kColumns * W::kChunk;
  }
  if (tail != 0) {
    LAPIDARY_UNROLL
    for (int o = 0; o < kTileOutputs; ++o) {
      const typename W::Lanes lanes = W::load_tail(w[o] + chunks * static_cast<int64_t>(W::kWeightBytes), tail);
      LAPIDARY_UNROLL
      for (int c = 0; c < kColumns; ++c) sums[c][o] = W::step(lanes, x + c * W::kChunk, sums[c][o]);
    }
  }
  LAPIDARY_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    if (!args.last) {
      LAPIDARY_UNROLL
      for (int o = 0; o < kTileOutputs; ++o) store(args.sums + (c * kTileOutputs + o) * kLanes, sums[c][o]);
      continue;
    }
    float out[kTileOutputs];
    sum4(sums[c][0], sums[c][1], sums[c][2], sums[c][3], out);
    float* y = args.y + c * args.y_stride;
    if (args.outputs == kTileOutputs) {
      for (int o = 0; o < kTileOutputs; ++o) y[o] = out[o] * args.scale;
    } else {
      for (int o = 0; o < args.outputs; ++o) y[o] = out[o] * args.scale;
    }
  }
}

template <class W>
constexpr TileKernel tile_kernel() {
  TileKernel kernel{.chunk = W::kChunk, .element_bytes = W::kElementBytes};
  kernel.tile[0] = tile<W, 1>;
  if constexpr (kColumnsMax >= 2) kernel.tile[1] = tile<W, 2>;
  if constexpr (kColumnsMax >= 3) kernel.tile[2] = tile<W, 3>;
  if constexpr (kColumnsMax >= 4) kernel.tile[3] = tile<W, 4>;
  if constexpr (kColumnsMax >= 5) kernel.tile[4] = tile<W, 5>;
  if constexpr (kColumnsMax >= 6) kernel.tile[5] = tile<W, 6>;
  return kernel;
}

template <class W>
void decode(const std::byte* from, int64_t values, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= values; i += kLanes) store(to + i, W::load_chunk(from + i / kLanes * W::kWeightBytes));
  const int tail = static_cast<int>(values - i);
  if (tail != 0) store_first(to + i, W::load_tail(from + i / kLanes * W::kWeightBytes, tail), tail);
}

// panel [chunks][columns][kLanes], zero beyond `values`.
void pack_f32(const float* const* rows, int32_t columns, int32_t values, float* panel) {
  const int32_t chunks = (values + kLanes - 1) / kLanes;
  for (int32_t c = 0; c < columns; ++c) {
    const float* from = rows[c];
    float* to = panel + c * kLanes;
    for (int32_t i = 0; i < chunks; ++i, from += kLanes, to += columns * kLanes) {
      const int left = values - i * kLanes;
      store(to, left >= kLanes ? load(from) : load_first(from, left));
    }
  }
}

void encode_bf16(const float* from, int64_t values, uint16_t* to) {
  int64_t i = 0;
  for (; i + kLanes <= values; i += kLanes) store_bf16(to + i, load(from + i));
  for (; i < values; ++i) to[i] = f32_to_bf16(from[i]);
}

void encode_f16(const float* from, int64_t values, uint16_t* to) {
  int64_t i = 0;
  for (; i + kLanes <= values; i += kLanes) store_f16(to + i, load(from + i));
  for (; i < values; ++i) to[i] = f32_to_f16(from[i]);
}
