// Attention over a handful of rows, of one head of one row. Included after math-inl.h and rows-inl.h.

LAPIDARY_INLINE void local_scores(const LocalAttentionArgs& args, float* scores) {
  for (int32_t d = 0; d < args.keys; ++d) {
    const float *k = args.k - d * args.k_stride, *distance = args.distances + d * args.distance_stride;
    F32 by_key = zeros(), by_distance = zeros();
    each_vector(
        args.dim, [&](int32_t i, int n) __attribute__((always_inline)) {
          const F32 q = load_up_to(args.q + i, n) * load_up_to(args.q_scale + i, n);
          by_key = fma(q, load_up_to(k + i, n), by_key);
          by_distance = fma(q, load_up_to(distance + i, n), by_distance);
        });
    scores[d] = sum(by_key) * args.k_scale + sum(by_distance);
  }
}

void local_attention(const LocalAttentionArgs& args) {
  alignas(64) float scores[kLocalScoresMax];
  local_scores(args, scores);
  softcap(args.cap, scores, args.keys);
  float largest = scores[0];
  for (int32_t d = 1; d < args.keys; ++d) largest = scores[d] > largest ? scores[d] : largest;
  F32 totals = zeros();
  each_vector(
      args.keys, [&](int32_t i, int n) __attribute__((always_inline)) {
        store_up_to(scores + i, exp(load_up_to(scores + i, n) - splat(largest)), n);
        totals = totals + load_up_to(scores + i, n);  // lanes beyond the keys are zero again
      });
  const F32 total = splat(sum(totals));
  each_vector(
      args.dim, [&](int32_t i, int n) __attribute__((always_inline)) {
        F32 values = zeros();
        for (int32_t d = 0; d < args.keys; ++d) {
          values = fma(splat(scores[d]), load_up_to(args.v - d * args.v_stride + i, n), values);
        }
        store_up_to(args.out + i, values / total, n);
      });
}
