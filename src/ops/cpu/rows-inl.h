// Norms and element-wise operations on one row. Sums use four vectors over ascending columns, folded in a fixed order.

template <class Body>
LAPIDARY_INLINE void each_vector(int32_t count, Body body) {
  int32_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
  if (i < count) body(i, count - i);
}

LAPIDARY_INLINE F32 load_up_to(const float* from, int n) { return n == kLanes ? load(from) : load_first(from, n); }
LAPIDARY_INLINE void store_up_to(float* to, F32 x, int n) { n == kLanes ? store(to, x) : store_first(to, x, n); }

// Sum over columns of (x - shift)^power, power 1 or 2.
template <int kPower>
LAPIDARY_INLINE float row_sum(const float* x, int32_t cols, float shift) {
  F32 sums[4] = {zeros(), zeros(), zeros(), zeros()};
  const F32 mean = splat(shift);
  const auto step = [&](F32 value, F32 total) __attribute__((always_inline)) {
    return kPower == 2 ? fma(value, value, total) : total + value;
  };
  int32_t i = 0;
  for (; i + 4 * kLanes <= cols; i += 4 * kLanes) {
    LAPIDARY_UNROLL
    for (int j = 0; j < 4; ++j) sums[j] = step(load(x + i + j * kLanes) - mean, sums[j]);
  }
  for (int j = 0; i + kLanes <= cols; i += kLanes, ++j) sums[j] = step(load(x + i) - mean, sums[j]);
  float total = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  // The tail goes through lanes too; those beyond it must not count as (0 - mean)^2.
  if (i < cols) {
    float rest[kLanes] = {};
    store_first(rest, load_first(x + i, cols - i) - mean, cols - i);
    total += sum(step(load(rest), zeros()));
  }
  return total;
}

LAPIDARY_INLINE F32 inverse_root(float sum, int32_t cols, float eps) {
  return splat(1.0f) / sqrt(splat(sum / static_cast<float>(cols) + eps));
}

void rms_norm(const float* x, const float* weight, float eps, float* out, int32_t cols) {
  const F32 factor = inverse_root(row_sum<2>(x, cols, 0.0f), cols, eps);
  each_vector(
      cols, [&](int32_t i, int n) __attribute__((always_inline)) {
        const F32 normed = load_up_to(x + i, n) * factor;
        store_up_to(out + i, weight != nullptr ? normed * load_up_to(weight + i, n) : normed, n);
      });
}

// Rounds as rms_norm followed by add.
void add_rms_norm(const float* h, const float* weight, float eps, float* x, int32_t cols) {
  const F32 factor = inverse_root(row_sum<2>(h, cols, 0.0f), cols, eps);
  each_vector(
      cols, [&](int32_t i, int n) __attribute__((always_inline)) {
        F32 normed = load_up_to(h + i, n) * factor;
        if (weight != nullptr) normed = normed * load_up_to(weight + i, n);
        store_up_to(x + i, load_up_to(x + i, n) + normed, n);
      });
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* out, int32_t cols) {
  // The mean of what the first mean leaves over: without it, rounding of the long sum of a nearly flat row (a picture's
  // sky) is as large as the row's own deviation, which the division below then blows up.
  const float coarse = row_sum<1>(x, cols, 0.0f) / static_cast<float>(cols);
  const float mean = coarse + row_sum<1>(x, cols, coarse) / static_cast<float>(cols);
  const F32 factor = inverse_root(row_sum<2>(x, cols, mean), cols, eps);
  each_vector(
      cols, [&](int32_t i, int n) __attribute__((always_inline)) {
        F32 normed = (load_up_to(x + i, n) - splat(mean)) * factor;
        if (weight != nullptr) normed = normed * load_up_to(weight + i, n);
        if (bias != nullptr) normed = normed + load_up_to(bias + i, n);
        store_up_to(out + i, normed, n);
      });
}

void rope(float* x, const float* cos, const float* sin, int32_t pairs, int32_t half) {
  each_vector(
      pairs, [&](int32_t i, int n) __attribute__((always_inline)) {
        const F32 c = load_up_to(cos + i, n), s = load_up_to(sin + i, n);
        const F32 first = load_up_to(x + i, n), second = load_up_to(x + i + half, n);
        store_up_to(x + i, first * c - second * s, n);
        store_up_to(x + i + half, second * c + first * s, n);
      });
}

void gelu_mul(const float* gate, const float* up, float* out, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(out + i, gelu(load_up_to(gate + i, n)) * load_up_to(up + i, n), n);
      });
}

void add(const float* y, float* x, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(x + i, load_up_to(x + i, n) + load_up_to(y + i, n), n);
      });
}

void multiply(const float* y, float* x, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(x + i, load_up_to(x + i, n) * load_up_to(y + i, n), n);
      });
}

void scale(float factor, const float* x, float* out, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n)
                 __attribute__((always_inline)) { store_up_to(out + i, load_up_to(x + i, n) * splat(factor), n); });
}

void divide(float divisor, const float* x, float* out, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n)
                 __attribute__((always_inline)) { store_up_to(out + i, load_up_to(x + i, n) / splat(divisor), n); });
}

// The bound stands first: where the value is NaN, min and max give their second argument.
void clamp(float low, float high, const float* x, float* out, int32_t count) {
  const F32 least = splat(low), most = splat(high);
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(out + i, min(most, max(least, load_up_to(x + i, n))), n);
      });
}

void softcap(float cap, float* x, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(x + i, splat(cap) * tanh(load_up_to(x + i, n) / splat(cap)), n);
      });
}

void silu(float* x, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        const F32 value = load_up_to(x + i, n);
        store_up_to(x + i, value / (splat(1.0f) + exp(zeros() - value)), n);
      });
}

void glu(const float* x, const float* gate, float* out, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(out + i, load_up_to(x + i, n) / (splat(1.0f) + exp(zeros() - load_up_to(gate + i, n))), n);
      });
}

void multiply_add(const float* w, const float* x, float* out, int32_t count) {
  each_vector(
      count, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(out + i, fma(load_up_to(w + i, n), load_up_to(x + i, n), load_up_to(out + i, n)), n);
      });
}

float read_all(const std::byte* from, int64_t bytes) {
  const float* data = reinterpret_cast<const float*>(from);
  F32 largest[4] = {zeros(), zeros(), zeros(), zeros()};
  for (int64_t i = 0; i < bytes / 4; i += 4 * kLanes) {
    LAPIDARY_UNROLL
    for (int j = 0; j < 4; ++j) largest[j] = max(load(data + i + j * kLanes), largest[j]);
  }
  return largest_lane(max(max(largest[0], largest[1]), max(largest[2], largest[3])));
}
