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
#include "ops/ops.h"

namespace lapidary {

struct LayerSpec {
  AttentionKind attention = AttentionKind::kSliding;
  int32_t head_dim = 0, kv_heads = 0;
  int32_t kv_source = 0;          // layer whose K and V this layer reads: itself, or an earlier one
  bool values_from_keys = false;  // V is K's projection, normalised without scale, before K is scaled and turned
  RopeSpec rope;
  int32_t ffn_hidden = 0;
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
  std::string variant;  // "12b-unified"
  int32_t dim = 0, heads = 0, vocab = 0, sliding_window = 0, positions_max = 0;
  float rms_eps = 1e-6f;
  float final_softcap = 0;  // 0: none
  bool image_tokens_see_each_other = false;
  int32_t pad_id = 0, bos_id = 2;
  std::vector<int32_t> eos_ids;
  std::vector<LayerSpec> layers;
  std::optional<VisionPatchConfig> vision;
  std::optional<AudioFrameConfig> audio;
  int32_t image_token_id = -1, audio_token_id = -1, video_token_id = -1;  // placeholders; -1: the model has none

  int32_t head_dim_max() const;
  int32_t kv_width_max() const;  // kv_heads * head_dim
  int32_t ffn_hidden_max() const;
  AttentionRules attention_rules() const { return {sliding_window, image_tokens_see_each_other}; }
};

// source names the file in messages. Errors: kUnsupported for another family or a structure not built yet, kCorruptFile
// for missing, ill-typed or contradictory values (each says key, expected, found).
Result<ModelConfig> read_model_config(const Json& config, std::string_view source);

// Of a text_config, for each layer: kind, head sizes, whether values come from keys, rotary embedding; kv_source is the
// layer itself. Errors: kCorruptFile, kUnsupported.
Result<std::vector<LayerSpec>> read_attention_specs(const JsonObject& text, int32_t layers);

}  // namespace lapidary
