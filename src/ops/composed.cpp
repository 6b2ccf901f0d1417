// Fused operations spelled out with simple ones: a new backend works without them, and each override is tested against
// these bodies.
#include <algorithm>
#include <numeric>

#include "ops/ops.h"

namespace lapidary {

void Ops::add_rms_norm(TensorView h, NormWeight w, float eps, TensorView x) {
  rms_norm(h, w, eps, h);
  add(h, x);
}

// Expert by expert, each over all the rows that chose it, so that its weights are read once. A row collects its experts
// in ascending order whatever the other rows chose, which keeps its sum the same in every batch.
void Ops::experts(TensorView x, std::span<const MlpWeights> experts, TensorView chosen, TensorView weights,
                  const ExpertWorkspace& b, TensorView out) {
  CHECK(x.rows > 0 && x.rows == out.rows && x.rows <= b.x.rows && chosen.rows % x.rows == 0);
  const int32_t active = chosen.rows / x.rows;
  std::vector<int32_t> ids(static_cast<size_t>(chosen.rows)), pairs(ids.size()), rows(ids.size());
  read_ids(chosen, ids);
  std::iota(pairs.begin(), pairs.end(), 0);
  for (const int32_t id : ids) CHECK(id >= 0 && id < static_cast<int32_t>(experts.size()));
  const auto expert_of = [&](int32_t pair) { return ids[static_cast<size_t>(pair)]; };
  std::stable_sort(pairs.begin(), pairs.end(), [&](int32_t a, int32_t c) { return expert_of(a) < expert_of(c); });
  std::transform(pairs.begin(), pairs.end(), rows.begin(), [&](int32_t pair) { return pair / active; });
  write_ids(pairs, row_range(b.pairs, 0, chosen.rows));
  write_ids(rows, row_range(b.rows, 0, chosen.rows));

  clear(out);
  for (int32_t first = 0; first < chosen.rows;) {
    const int32_t expert = expert_of(pairs[static_cast<size_t>(first)]);
    int32_t last = first + 1;
    while (last < chosen.rows && expert_of(pairs[static_cast<size_t>(last)]) == expert) ++last;
    const int32_t count = last - first;
    const MlpWeights& w = experts[static_cast<size_t>(expert)];
    const TensorView own_rows = row_range(b.rows, first, count), own_x = row_range(b.x, 0, count),
                     y = row_range(b.y, 0, count), gate = row_range(b.gate, 0, count), up = row_range(b.up, 0, count),
                     own_weights = row_range(b.weights, 0, count);
    gather_rows(x, own_rows, own_x);
    gather_rows(weights, row_range(b.pairs, first, count), own_weights);
    project(own_x, std::array{&w.gate, &w.up}, std::array{gate, up});
    gelu_mul(gate, up, gate);
    project(gate, std::array{&w.down}, std::array{y});
    scatter_add_rows(y, own_rows, own_weights, out);
    first = last;
  }
}

void Ops::run_step(uint64_t key, const std::function<void()>& step) {
  (void)key;
  step();
}

}  // namespace lapidary
