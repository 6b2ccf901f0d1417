// F32 on AVX-512 F, BW, VL and DQ: sixteen lanes. Included inside a namespace and a target region.

inline constexpr int kLanes = 16;
inline constexpr int kColumnsMax = 6;

struct F32 {
  __m512 v;
};

LAPIDARY_INLINE __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }

LAPIDARY_INLINE F32 splat(float x) { return {_mm512_set1_ps(x)}; }
LAPIDARY_INLINE F32 zeros() { return {_mm512_setzero_ps()}; }
LAPIDARY_INLINE F32 load(const float* from) { return {_mm512_loadu_ps(from)}; }
// The first n lanes, 0 <= n < kLanes; the others zero.
LAPIDARY_INLINE F32 load_first(const float* from, int n) { return {_mm512_maskz_loadu_ps(first_lanes(n), from)}; }
LAPIDARY_INLINE void store(float* to, F32 x) { _mm512_storeu_ps(to, x.v); }
LAPIDARY_INLINE void store_first(float* to, F32 x, int n) { _mm512_mask_storeu_ps(to, first_lanes(n), x.v); }

LAPIDARY_INLINE F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }

// a < b ? x : y; a NaN in a or b takes y.
LAPIDARY_INLINE F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
// NaN in b comes through; NaN in a does not.
LAPIDARY_INLINE F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
LAPIDARY_INLINE F32 abs(F32 x) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), x.v)}; }
LAPIDARY_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  const __m512 bit = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(bit, magnitude.v), _mm512_and_ps(bit, sign.v))};
}
LAPIDARY_INLINE F32 sqrt(F32 x) { return {_mm512_sqrt_ps(x.v)}; }
LAPIDARY_INLINE F32 round_even(F32 x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// 2^n for integral n in [-126, 127].
LAPIDARY_INLINE F32 power_of_two(F32 n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}

// Lanes i and i + 8 first, then pairwise, then the two halves.
LAPIDARY_INLINE __m256 fold_halves(F32 x) {
  return _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
}
LAPIDARY_INLINE void sum4(F32 a, F32 b, F32 c, F32 d, float* out) {
  const __m256 ab = _mm256_hadd_ps(fold_halves(a), fold_halves(b));
  const __m256 cd = _mm256_hadd_ps(fold_halves(c), fold_halves(d));
  const __m256 abcd = _mm256_hadd_ps(ab, cd);
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
}
LAPIDARY_INLINE float sum(F32 x) {
  float out[4];
  sum4(x, x, x, x, out);
  return out[0];
}
LAPIDARY_INLINE float largest_lane(F32 x) { return _mm512_reduce_max_ps(x.v); }

LAPIDARY_INLINE F32 widen_bf16(__m256i raw) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16))};
}
LAPIDARY_INLINE F32 load_bf16(const std::byte* from) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
LAPIDARY_INLINE F32 load_bf16_first(const std::byte* from, int n) {
  return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), from));
}
LAPIDARY_INLINE F32 load_f16(const std::byte* from) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
}
LAPIDARY_INLINE F32 load_f16_first(const std::byte* from, int n) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), from))};
}
// As f32_to_bf16: nearest, ties to even; NaN stays NaN.
LAPIDARY_INLINE void store_bf16(uint16_t* to, F32 x) {
  const __m512i bits = _mm512_castps_si512(x.v), upper = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  const __m512i half = _mm512_mask_or_epi32(rounded, is_nan, upper, _mm512_set1_epi32(0x40));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(half));
}
LAPIDARY_INLINE void store_f16(uint16_t* to, F32 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}
LAPIDARY_INLINE void prefetch(const std::byte* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1); }
