#include "model/weight_counts.h"

namespace lapidary {
namespace {

int64_t matrix_bytes(const QuantizedMatrix& w) { return static_cast<int64_t>(w.blocks.size()); }

// each(matrix, times) for every matrix of a layer that a row is multiplied with.
template <class Each>
void each_read(const LayerWeights& l, const LayerSpec& spec, Each each) {
  for (const QuantizedMatrix* m :
       {&l.q, &l.k, &l.v, &l.o, &l.mlp.gate, &l.mlp.up, &l.mlp.down, &l.per_layer.gate, &l.per_layer.out}) {
    each(*m, 1);
  }
  if (!l.moe) return;
  each(l.moe->router, 1);
  const MlpWeights& one = l.moe->experts.front();  // all are of one size
  for (const QuantizedMatrix* m : {&one.gate, &one.up, &one.down}) each(*m, spec.moe->active);
}

}  // namespace

int64_t decode_bytes(const ModelWeights& w, const ModelConfig& config) {
  int64_t bytes = matrix_bytes(w.embedding) + matrix_bytes(w.per_layer_inputs.projection);
  for (size_t l = 0; l < w.layers.size(); ++l) {
    each_read(w.layers[l], config.layers[l],
              [&](const QuantizedMatrix& m, int32_t times) { bytes += times * matrix_bytes(m); });
  }
  return bytes;
}

int64_t prompt_weights(const ModelWeights& w, const ModelConfig& config) {
  const auto values = [](const QuantizedMatrix& m) { return int64_t{m.out} * m.in; };
  int64_t total = values(w.per_layer_inputs.projection);
  for (size_t l = 0; l < static_cast<size_t>(config.borrowing_tail()); ++l) {
    each_read(w.layers[l], config.layers[l],
              [&](const QuantizedMatrix& m, int32_t times) { total += times * values(m); });
  }
  return total;
}

}  // namespace lapidary
