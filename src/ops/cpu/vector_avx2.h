// F32 on AVX2, FMA and F16C: eight lanes. Included inside a namespace and a target region.

inline constexpr int kLanes = 8;
inline constexpr int kColumnsMax = 3;

struct F32 {
  __m256 v;
};

LAPIDARY_INLINE F32 splat(float x) { return {_mm256_set1_ps(x)}; }
LAPIDARY_INLINE F32 zeros() { return {_mm256_setzero_ps()}; }
LAPIDARY_INLINE F32 load(const float* from) { return {_mm256_loadu_ps(from)}; }
alignas(32) inline constexpr int32_t kLaneMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
LAPIDARY_INLINE __m256i first_lanes(int n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMasks + 8 - n));
}
// The first n lanes, 0 <= n < kLanes; the others zero.
LAPIDARY_INLINE F32 load_first(const float* from, int n) { return {_mm256_maskload_ps(from, first_lanes(n))}; }
LAPIDARY_INLINE void store(float* to, F32 x) { _mm256_storeu_ps(to, x.v); }
LAPIDARY_INLINE void store_first(float* to, F32 x, int n) { _mm256_maskstore_ps(to, first_lanes(n), x.v); }

LAPIDARY_INLINE F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }

// a < b ? x : y; a NaN in a or b takes y.
LAPIDARY_INLINE F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
// NaN in b comes through; NaN in a does not.
LAPIDARY_INLINE F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 abs(F32 x) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x.v)}; }
LAPIDARY_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.v), _mm256_and_ps(bit, sign.v))};
}
LAPIDARY_INLINE F32 sqrt(F32 x) { return {_mm256_sqrt_ps(x.v)}; }
LAPIDARY_INLINE F32 round_even(F32 x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// 2^n for integral n in [-126, 127].
LAPIDARY_INLINE F32 power_of_two(F32 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}

// Lanes i and i + 4 first, then as sum4's pairwise additions.
LAPIDARY_INLINE void sum4(F32 a, F32 b, F32 c, F32 d, float* out) {
  const __m256 ab = _mm256_hadd_ps(a.v, b.v), cd = _mm256_hadd_ps(c.v, d.v);
  const __m256 abcd = _mm256_hadd_ps(ab, cd);
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
}
LAPIDARY_INLINE float sum(F32 x) {
  float out[4];
  sum4(x, x, x, x, out);
  return out[0];
}
LAPIDARY_INLINE float largest_lane(F32 x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

LAPIDARY_INLINE F32 load_bf16(const std::byte* from) {
  const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16))};
}
LAPIDARY_INLINE F32 load_bf16_first(const std::byte* from, int n) {
  alignas(16) std::byte raw[2 * kLanes] = {};
  std::memcpy(raw, from, static_cast<size_t>(n) * 2);
  return load_bf16(raw);
}
LAPIDARY_INLINE F32 load_f16(const std::byte* from) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
}
LAPIDARY_INLINE F32 load_f16_first(const std::byte* from, int n) {
  alignas(16) std::byte raw[2 * kLanes] = {};
  std::memcpy(raw, from, static_cast<size_t>(n) * 2);
  return load_f16(raw);
}
// As f32_to_bf16: nearest, ties to even; NaN stays NaN.
LAPIDARY_INLINE void store_bf16(uint16_t* to, F32 x) {
  const __m256i bits = _mm256_castps_si256(x.v), upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q));
  const __m256i half = _mm256_blendv_epi8(rounded, quiet, is_nan);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(half, half), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
}
LAPIDARY_INLINE void store_f16(uint16_t* to, F32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}
LAPIDARY_INLINE void prefetch(const std::byte* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1); }
