// exp, tanh and gelu on lanes. The same polynomial at every lane and in every tail.

// exp(x) = 2^n (1 + em1), n = round(x / ln 2), em1 = expm1(r), r = x - n ln 2 with |r| <= ln 2 / 2.
struct ExpParts {
  F32 power;  // 2^n
  F32 em1;
};

// x in [-87.3, 88.7], where 2^n is a normal number.
LAPIDARY_INLINE ExpParts exp_parts(F32 x) {
  const F32 n = round_even(x * splat(0x1.715476p0f));
  // ln 2 in two parts; the first has 9 bits free, so n times it is exact and the sum cancels without error.
  const F32 r = fma(n, splat(-0x1.7f7d1cp-20f), fma(n, splat(-0x1.62e4p-1f), x));
  // expm1(r) = r + r^2 q(r): q is the polynomial of degree 4 with the smallest largest relative error of the whole on
  // |r| <= ln 2 / 2 (Remez exchange in 50 digits): 1.4e-8, a ninth of a unit in the last place.
  F32 q = splat(0x1.6d990cp-10f);
  q = fma(q, r, splat(0x1.1227fep-7f));
  q = fma(q, r, splat(0x1.555486p-5f));
  q = fma(q, r, splat(0x1.5554b0p-3f));
  q = fma(q, r, splat(0.5f));
  return {power_of_two(n), fma(q, r * r, r)};
}

// Within 2 units in the last place for x in [-87.3, 88.3]; 0 below, 2^127.4 above; NaN stays NaN.
LAPIDARY_INLINE F32 exp(F32 x) {
  const F32 floor = splat(-87.3f);
  const ExpParts parts = exp_parts(min(splat(88.3f), max(floor, x)));
  return select_less(x, floor, zeros(), fma(parts.power, parts.em1, parts.power));
}

// tanh|x| = e / (e + 2), e = expm1(2|x|) = 2^n em1 + (2^n - 1): no cancellation near 0. Beyond 10 it is 1 in f32.
LAPIDARY_INLINE F32 tanh(F32 x) {
  const F32 magnitude = min(splat(10.0f), abs(x));
  const ExpParts parts = exp_parts(magnitude + magnitude);
  const F32 e = fma(parts.power, parts.em1, parts.power - splat(1.0f));
  return copy_sign(e / (e + splat(2.0f)), x);
}

// x/2 (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3): no cancellation for negative x.
LAPIDARY_INLINE F32 gelu(F32 x) {
  const F32 cubic = fma(x * x, splat(0.044715f), splat(1.0f));
  const F32 exponent = x * cubic * splat(-1.5957691216f);  // -2 sqrt(2/pi)
  return x / (splat(1.0f) + exp(exponent));
}
