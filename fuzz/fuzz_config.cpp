#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "model/config.h"
#include "model/drafter_config.h"
#include "model/generation_config.h"

namespace {

// A model that the drafter in the corpus belongs to.
lapidary::ModelConfig small_target() {
  using namespace lapidary;
  ModelConfig target;
  target.dim = 40;
  target.vocab = 672;
  target.layers = {{.attention = AttentionKind::kSliding, .head_dim = 16, .kv_heads = 2, .kv_source = 0},
                   {.attention = AttentionKind::kGlobal, .head_dim = 48, .kv_heads = 2, .kv_source = 1}};
  return target;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!json) return 0;
  if (const auto config = read_model_config(*json, "fuzz")) {
    // What was accepted can be worked with: sizes that divide, ids that exist.
    for (const LayerSpec& layer : config->layers) CHECK(config->heads % layer.kv_heads == 0 && layer.head_dim % 2 == 0);
    for (const int32_t id : config->eos_ids) CHECK(id >= 0 && id < config->vocab);
    if (const auto defaults = read_generation_defaults(*json, "fuzz", *config)) CHECK(defaults->top_p > 0);
  }
  if (const auto drafter = read_drafter_config(*json, "fuzz", small_target())) {
    CHECK(drafter->clusters == 0 || drafter->cluster_tokens() * drafter->clusters == drafter->vocab);
    CHECK(drafter->active_clusters <= drafter->clusters);
    for (const LayerSpec& layer : drafter->layers) CHECK(layer.kv_source >= 0 && drafter->heads % layer.kv_heads == 0);
  }
  ModelConfig any;
  any.vocab = 1000;
  (void)read_generation_defaults(*json, "fuzz", any);
  return 0;
}
