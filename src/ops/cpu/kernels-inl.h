// Everything the levels share, in the namespace and target region of the level that includes it. Each part uses the
// ones before it, hence the blank lines: formatters sort within a block.
#include "ops/cpu/tile-inl.h"  // products and conversions

#include "ops/cpu/math-inl.h"  // exp, tanh, gelu

#include "ops/cpu/attention-inl.h"  // softmax, values
#include "ops/cpu/rows-inl.h"       // norms and element-wise operations

#include "ops/cpu/local-attention-inl.h"

constexpr CpuKernels common_kernels(const char* name) {
  CpuKernels kernels{};
  kernels.name = name;
  kernels.lanes = kLanes;
  kernels.tile_columns = kColumnsMax;
  constexpr size_t f32 = static_cast<size_t>(Format::kF32), bf16 = static_cast<size_t>(Format::kBF16);
  kernels.tile[f32] = tile_kernel<WeightsF32>();
  kernels.tile[bf16] = tile_kernel<WeightsBF16>();
  kernels.decode[f32] = decode<WeightsF32>;
  kernels.decode[bf16] = decode<WeightsBF16>;
  kernels.values[f32] = values_kernels<WeightsF32>();
  kernels.values[bf16] = values_kernels<WeightsBF16>();
  kernels.pack_f32 = pack_f32;
  kernels.encode_bf16 = encode_bf16;
  kernels.encode_f16 = encode_f16;
  kernels.softmax = softmax;
  kernels.softmax_combine = softmax_combine;
  kernels.rms_norm = rms_norm;
  kernels.add_rms_norm = add_rms_norm;
  kernels.layer_norm = layer_norm;
  kernels.rope = rope;
  kernels.gelu_mul = gelu_mul;
  kernels.add = add;
  kernels.scale = scale;
  kernels.divide = divide;
  kernels.multiply = multiply;
  kernels.clamp = clamp;
  kernels.softcap = softcap;
  kernels.silu = silu;
  kernels.glu = glu;
  kernels.multiply_add = multiply_add;
  kernels.local_attention = local_attention;
  kernels.read_all = read_all;
  return kernels;
}
