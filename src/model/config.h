// ModelConfig: everything that distinguishes one Gemma 4 model from another, as data. Read from config.json; no number
// of a model is written anywhere else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/audio_config.h"
#include "model/vision_config.h"
#include "ops/ops.h"

namespace lapidary {

// A mixture of experts next to the dense feed-forward network: `active` of `experts` networks of width `hidden` answer
// each row.
struct MoeSpec {
  int32_t experts = 0, active = 0, hidden = 0;
};

struct LayerSpec {
  AttentionKind attention = AttentionKind::kSliding;
  int32_t head_dim = 0, kv_heads = 0;
  int32_t kv_source = 0;          // layer whose K and V this layer reads: itself, or an earlier one
  bool values_from_keys = false;  // V is K's projection, normalised without scale, before K is scaled and turned
  RopeSpec rope;
  int32_t ffn_hidden = 0;
  std::optional<MoeSpec> moe;
};

// Encoder-free vision: pixel patches of patch_pixels x patch_pixels go through one dense layer into the decoder.
struct VisionPatchConfig {
  int32_t patch_pixels = 0;  // patch_size * pooling_kernel_size
  int32_t embed_dim = 0;     // width between the patch and the decoder
  int32_t positions = 0;     // rows of the position table, each with an x and a y part
  float rms_eps = 1e-6f;
  int32_t patch_values() const { return patch_pixels * patch_pixels * 3; }
};

// Encoder-free hearing: frames of samples_per_token samples are normalised and projected.
struct AudioFrameConfig {
  int32_t samples_per_token = 0;
  float rms_eps = 1e-6f;
};

struct ModelConfig {
  // "e2b", "e4b", "12b-unified", "26b-a4b" or "31b": the release whose structure this is, whatever its sizes are.
  // Encoder-free: 12b-unified. Otherwise experts: 26b-a4b; per-layer inputs: e2b where borrowing layers have the double
  // feed-forward width, else e4b; neither: 31b.
  std::string variant;
  int32_t dim = 0, heads = 0, vocab = 0, sliding_window = 0, positions_max = 0;
  float rms_eps = 1e-6f;
  float final_softcap = 0;    // 0: none
  int32_t per_layer_dim = 0;  // width of each layer's own input beside the residual stream; 0: none
  bool image_tokens_see_each_other = false;
  int32_t pad_id = 0, bos_id = 2;
  std::vector<int32_t> eos_ids;
  std::vector<LayerSpec> layers;
  std::optional<VisionPatchConfig> vision;  // pictures without an encoder, or
  std::optional<VisionTowerConfig> vision_tower;
  std::optional<AudioFrameConfig> audio;  // sound without an encoder, or
  std::optional<AudioTowerConfig> audio_tower;
  int32_t image_token_id = -1, audio_token_id = -1, video_token_id = -1;  // placeholders; -1: the model has none

  int32_t head_dim_max() const;
  int32_t kv_width_max() const;  // kv_heads * head_dim
  int32_t ffn_hidden_max() const;
  int32_t experts_max() const;  // 0: no layer has any
  int32_t active_experts_max() const;
  int32_t expert_hidden_max() const;
  // The first of the last layers that all borrow their K and V; the number of layers where the last one has its own.
  int32_t borrowing_tail() const;
  bool takes_pictures() const { return vision || vision_tower; }
  bool takes_sound() const { return audio || audio_tower; }
  AttentionRules attention_rules() const { return {sliding_window, image_tokens_see_each_other}; }
};

// config is a whole model's (gemma4, gemma4_unified) or a text decoder's alone (gemma4_text, gemma4_unified_text); keys
// it does not know are ignored. source names the file in messages. Errors: kUnsupported for another family or a value
// the forward pass has no meaning for, kCorruptFile for missing, ill-typed or contradictory values (each says key,
// expected, found).
Result<ModelConfig> read_model_config(const Json& config, std::string_view source);

}  // namespace lapidary
