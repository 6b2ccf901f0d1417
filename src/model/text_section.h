// The part of a text_config that a model and its drafter write alike: sizes, norms, and how each layer attends.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "model/config.h"

namespace lapidary {

// Sizes far beyond any model, small enough that products of three of them fit in 64 bits.
inline constexpr int64_t kDimMax = 1 << 20;
inline constexpr int64_t kVocabMax = 1 << 24;

struct TextSection {
  int32_t dim = 0, heads = 0, vocab = 0;
  float rms_eps = 1e-6f;
  std::vector<LayerSpec> layers;  // kv_source: the layer itself
};

// Errors: kCorruptFile for missing, ill-typed or contradictory values, kUnsupported for those that no Gemma 4 has.
Result<TextSection> read_text_section(const JsonObject& text, int64_t layers_max);

// The largest of a size over all layers; 0 where there is none.
template <class Size>
int32_t largest(const std::vector<LayerSpec>& layers, Size size) {
  int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, size(layer));
  return most;
}

// An integer in [1, max].
Result<int32_t> dimension(const JsonObject& from, std::string_view key, int64_t max = kDimMax);
// kCorruptFile and kUnsupported, with the file and the place in it before `what`.
Error contradiction(const JsonObject& from, std::string_view what);
Error unsupported(const JsonObject& from, std::string_view what);

}  // namespace lapidary
