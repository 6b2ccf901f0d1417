// f16 weights, keys and values, for the levels that convert them in one instruction. Included after kernels-inl.h's
// parts.

struct WeightsF16 : WeightsF32 {
  static constexpr int kWeightBytes = 2 * kLanes;
  static LAPIDARY_INLINE Lanes load_chunk(const std::byte* from) { return load_f16(from); }
  static LAPIDARY_INLINE Lanes load_tail(const std::byte* from, int n) { return load_f16_first(from, n); }
};

constexpr void add_f16(CpuKernels& kernels) {
  constexpr size_t f16 = static_cast<size_t>(Format::kF16);
  kernels.tile[f16] = tile_kernel<WeightsF16>();
  kernels.decode[f16] = decode<WeightsF16>;
  kernels.values[f16] = values_kernels<WeightsF16>();
}
