#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "model/config.h"
#include "model/generation_config.h"

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
  ModelConfig any;
  any.vocab = 1000;
  (void)read_generation_defaults(*json, "fuzz", any);
  return 0;
}
