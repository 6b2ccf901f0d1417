// F32 for any processor: four lanes by the compilers' vector extension, which is SSE2 on x86-64. No fused multiply-add:
// fma() rounds twice. Included inside a namespace.

inline constexpr int kLanes = 4;
inline constexpr int kColumnsMax = 2;

typedef float RawF32 __attribute__((vector_size(16)));
typedef int32_t RawI32 __attribute__((vector_size(16)));
typedef uint32_t RawU32 __attribute__((vector_size(16)));

struct F32 {
  RawF32 v;
};

LAPIDARY_INLINE F32 splat(float x) { return {RawF32{x, x, x, x}}; }
LAPIDARY_INLINE F32 zeros() { return splat(0.0f); }
LAPIDARY_INLINE F32 load(const float* from) {
  F32 out;
  std::memcpy(&out.v, from, 16);
  return out;
}
// The first n lanes, 0 <= n < kLanes; the others zero.
LAPIDARY_INLINE F32 load_first(const float* from, int n) {
  F32 out = zeros();
  std::memcpy(&out.v, from, static_cast<size_t>(n) * 4);
  return out;
}
LAPIDARY_INLINE void store(float* to, F32 x) { std::memcpy(to, &x.v, 16); }
LAPIDARY_INLINE void store_first(float* to, F32 x, int n) { std::memcpy(to, &x.v, static_cast<size_t>(n) * 4); }

LAPIDARY_INLINE F32 operator+(F32 a, F32 b) { return {a.v + b.v}; }
LAPIDARY_INLINE F32 operator-(F32 a, F32 b) { return {a.v - b.v}; }
LAPIDARY_INLINE F32 operator*(F32 a, F32 b) { return {a.v * b.v}; }
LAPIDARY_INLINE F32 operator/(F32 a, F32 b) { return {a.v / b.v}; }
LAPIDARY_INLINE F32 fma(F32 a, F32 b, F32 c) { return {a.v * b.v + c.v}; }

LAPIDARY_INLINE F32 choose(RawI32 mask, F32 a, F32 b) {
  return {(RawF32)((mask & (RawI32)a.v) | (~mask & (RawI32)b.v))};
}
// a < b ? x : y; a NaN in a or b takes y.
LAPIDARY_INLINE F32 select_less(F32 a, F32 b, F32 x, F32 y) { return choose(a.v < b.v, x, y); }
// NaN in b comes through; NaN in a does not.
LAPIDARY_INLINE F32 max(F32 a, F32 b) { return choose(a.v > b.v, a, b); }
LAPIDARY_INLINE F32 min(F32 a, F32 b) { return choose(a.v < b.v, a, b); }
LAPIDARY_INLINE F32 abs(F32 x) { return {(RawF32)((RawI32)x.v & 0x7fffffff)}; }
LAPIDARY_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  const RawI32 bit = (RawI32)splat(-0.0f).v;
  return {(RawF32)(((RawI32)magnitude.v & ~bit) | ((RawI32)sign.v & bit))};
}
LAPIDARY_INLINE F32 sqrt(F32 x) {
  return {RawF32{__builtin_sqrtf(x.v[0]), __builtin_sqrtf(x.v[1]), __builtin_sqrtf(x.v[2]), __builtin_sqrtf(x.v[3])}};
}
// To the nearest integer, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits below the unit.
LAPIDARY_INLINE F32 round_even(F32 x) { return (x + splat(0x1.8p23f)) - splat(0x1.8p23f); }
// 2^n for integral n in [-126, 127].
LAPIDARY_INLINE F32 power_of_two(F32 n) {
  const RawI32 biased = (RawI32)(n.v + 0x1.8p23f) - (RawI32)splat(0x1.8p23f).v + 127;
  return {(RawF32)(biased << 23)};
}

// (0 + 2) + (1 + 3)
LAPIDARY_INLINE float sum(F32 x) { return (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]); }
LAPIDARY_INLINE void sum4(F32 a, F32 b, F32 c, F32 d, float* out) {
  out[0] = sum(a);
  out[1] = sum(b);
  out[2] = sum(c);
  out[3] = sum(d);
}
LAPIDARY_INLINE float largest_lane(F32 x) {
  float largest = x.v[0];
  for (int i = 1; i < kLanes; ++i) largest = x.v[i] > largest ? x.v[i] : largest;
  return largest;
}

LAPIDARY_INLINE F32 load_bf16(const std::byte* from) {
  uint16_t raw[kLanes];
  std::memcpy(raw, from, sizeof(raw));
  return {(RawF32)(RawU32{raw[0], raw[1], raw[2], raw[3]} << 16)};
}
LAPIDARY_INLINE F32 load_bf16_first(const std::byte* from, int n) {
  std::byte raw[2 * kLanes] = {};
  std::memcpy(raw, from, static_cast<size_t>(n) * 2);
  return load_bf16(raw);
}
LAPIDARY_INLINE void store_bf16(uint16_t* to, F32 x) {
  for (int i = 0; i < kLanes; ++i) to[i] = f32_to_bf16(x.v[i]);
}
LAPIDARY_INLINE void store_f16(uint16_t* to, F32 x) {
  for (int i = 0; i < kLanes; ++i) to[i] = f32_to_f16(x.v[i]);
}
LAPIDARY_INLINE void prefetch(const std::byte* at) { __builtin_prefetch(at, 0, 2); }
