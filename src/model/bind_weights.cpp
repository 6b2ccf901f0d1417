#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <initializer_list>

#include "model/drafter_weights.h"
#include "model/weights.h"

namespace lapidary {
namespace {

constexpr size_t kProblemsShown = 6;

// Looks tensors up, checks their shapes and collects every mismatch before giving up.
class WeightBinder {
 public:
  WeightBinder(const Checkpoint& checkpoint, std::string_view source, Ops& ops)
      : checkpoint_(checkpoint), source_(source), ops_(ops) {}

  // The text decoder's prefix: whichever of the known ones holds the embedding table.
  std::string text_prefix() const {
    for (const char* prefix : {"model.language_model.", "language_model.model.", "model.", ""}) {
      if (checkpoint_.find(fmt::format("{}embed_tokens.weight", prefix)) != nullptr) return prefix;
    }
    return "model.language_model.";
  }

  // The first of several names that exists; for tensors that releases and re-exports call differently.
  std::string first_of(std::initializer_list<std::string> names) const {
    for (const std::string& name : names) {
      if (checkpoint_.find(name) != nullptr) return name;
    }
    return *names.begin();
  }

  QuantizedMatrix matrix(const std::string& name, int64_t out, int64_t in) {
    return as_matrix(name, {out, in}, out, in);
  }

  // A tensor of any shape read as a matrix [out, in] over the same bytes.
  QuantizedMatrix as_matrix(const std::string& name, std::initializer_list<int64_t> shape, int64_t out, int64_t in) {
    const TensorEntry* tensor = find(name, shape);
    if (tensor == nullptr) return {};
    return prepared(name, matrix_over(*tensor, tensor->bytes, out, in));
  }

  // A table whose rows are looked up and never multiplied: stays in the mapped file.
  QuantizedMatrix table(const std::string& name, int64_t rows, int64_t cols) {
    const TensorEntry* tensor = find(name, {rows, cols});
    return tensor == nullptr ? QuantizedMatrix{} : matrix_over(*tensor, tensor->bytes, rows, cols);
  }

  // The experts of a layer, which lie behind each other: gate_up [experts, 2 * hidden, dim], each expert's gate before
  // its up; down [experts, dim, hidden].
  std::vector<MlpWeights> experts(const std::string& prefix, const MoeSpec& moe, int64_t dim) {
    const std::string gate_up_name = prefix + "experts.gate_up_proj", down_name = prefix + "experts.down_proj";
    const TensorEntry* gate_up = find(gate_up_name, {moe.experts, 2LL * moe.hidden, dim});
    const TensorEntry* down = find(down_name, {moe.experts, dim, moe.hidden});
    std::vector<MlpWeights> experts;
    if (gate_up == nullptr || down == nullptr) return experts;
    const size_t half = gate_up->bytes.size() / static_cast<size_t>(moe.experts) / 2,
                 whole = down->bytes.size() / static_cast<size_t>(moe.experts);
    for (size_t e = 0; e < static_cast<size_t>(moe.experts); ++e) {
      const auto part = [&](size_t index) { return gate_up->bytes.subspan(index * half, half); };
      experts.push_back(
          {prepared(gate_up_name, matrix_over(*gate_up, part(2 * e), moe.hidden, dim)),
           prepared(gate_up_name, matrix_over(*gate_up, part(2 * e + 1), moe.hidden, dim)),
           prepared(down_name, matrix_over(*down, down->bytes.subspan(e * whole, whole), dim, moe.hidden))});
    }
    return experts;
  }

  // Times factor, for constants that the model multiplies a norm's output with.
  NormWeight vector(const std::string& name, int64_t cols, float factor = 1.0f) {
    const TensorEntry* tensor = find(name, {cols});
    if (tensor == nullptr) return {};
    std::vector<float> values(static_cast<size_t>(cols));
    format_info(*tensor->format).decode(tensor->bytes.data(), cols, values.data());
    for (float& value : values) value *= factor;
    auto view = ops_.allocate(1, static_cast<int32_t>(cols), DType::kF32);
    if (!view) {
      problems_.push_back(fmt::format("{}: {}", name, view.error().message));
      return {};
    }
    ops_.write(values, *view);
    return *view;
  }

  // Stored as [1] or, by some exporters, as [].
  float scalar(const std::string& name) {
    const TensorEntry* stored = checkpoint_.find(name);
    const TensorEntry* tensor = stored != nullptr && stored->shape.empty() ? find(name, {}) : find(name, {1});
    float value = 0;
    if (tensor != nullptr) format_info(*tensor->format).decode(tensor->bytes.data(), 1, &value);
    return value;
  }

  Result<void> finish() const {
    if (problems_.empty()) return {};
    const size_t shown = std::min(problems_.size(), kProblemsShown);
    std::string message = fmt::format(
        "{}: {} tensor{} do not fit config.json: {}", source_, problems_.size(), problems_.size() == 1 ? "" : "s",
        fmt::join(problems_.begin(), problems_.begin() + static_cast<std::ptrdiff_t>(shown), "; "));
    if (problems_.size() > shown) message += fmt::format("; and {} more", problems_.size() - shown);
    return Error{ErrorCode::kCorruptFile, message};
  }

 private:
  static QuantizedMatrix matrix_over(const TensorEntry& tensor, std::span<const std::byte> bytes, int64_t out,
                                     int64_t in) {
    QuantizedMatrix w;
    w.format = *tensor.format;
    w.out = static_cast<int32_t>(out);
    w.in = static_cast<int32_t>(in);
    w.blocks = bytes;
    return w;
  }

  QuantizedMatrix prepared(const std::string& name, QuantizedMatrix w) {
    if (auto done = ops_.prepare(w); !done) problems_.push_back(fmt::format("{}: {}", name, done.error().message));
    return w;
  }

  const TensorEntry* find(const std::string& name, std::initializer_list<int64_t> shape) {
    const TensorEntry* tensor = checkpoint_.find(name);
    if (tensor == nullptr) {
      problems_.push_back(fmt::format("{} is missing, expected {}", name, shape_text(shape)));
    } else if (!std::equal(tensor->shape.begin(), tensor->shape.end(), shape.begin(), shape.end())) {
      problems_.push_back(fmt::format("{} is {}, expected {}", name, shape_text(tensor->shape), shape_text(shape)));
    } else if (!tensor->format) {
      problems_.push_back(fmt::format("{} holds {}, expected BF16, F16 or F32", name, tensor->element));
    } else {
      return tensor;
    }
    return nullptr;
  }

  const Checkpoint& checkpoint_;
  std::string source_;
  Ops& ops_;
  std::vector<std::string> problems_;
};

MoeWeights bind_experts(WeightBinder& bind, const std::string& prefix, const MoeSpec& moe, int32_t dim) {
  MoeWeights w;
  w.router_scale = bind.vector(prefix + "router.scale", dim, 1.0f / std::sqrt(static_cast<float>(dim)));
  w.router = bind.matrix(prefix + "router.proj.weight", moe.experts, dim);
  w.expert_scale = bind.vector(prefix + "router.per_expert_scale", moe.experts);
  w.post_dense_norm = bind.vector(prefix + "post_feedforward_layernorm_1.weight", dim);
  w.experts_norm = bind.vector(prefix + "pre_feedforward_layernorm_2.weight", dim);
  w.post_experts_norm = bind.vector(prefix + "post_feedforward_layernorm_2.weight", dim);
  w.experts = bind.experts(prefix, moe, dim);
  return w;
}

// l: the layer's index. A layer that borrows K and V has no use for its own, which the first releases still ship.
LayerWeights bind_layer(WeightBinder& bind, const std::string& prefix, const ModelConfig& config, int32_t l) {
  const LayerSpec& spec = config.layers[static_cast<size_t>(l)];
  const int64_t dim = config.dim, q_width = static_cast<int64_t>(config.heads) * spec.head_dim,
                kv_width = static_cast<int64_t>(spec.kv_heads) * spec.head_dim;
  LayerWeights w;
  w.attn_norm = bind.vector(prefix + "input_layernorm.weight", dim);
  w.post_attn_norm = bind.vector(prefix + "post_attention_layernorm.weight", dim);
  w.ffn_norm = bind.vector(prefix + "pre_feedforward_layernorm.weight", dim);
  w.post_ffn_norm = bind.vector(prefix + "post_feedforward_layernorm.weight", dim);
  w.q = bind.matrix(prefix + "self_attn.q_proj.weight", q_width, dim);
  if (spec.kv_source == l) {
    w.k = bind.matrix(prefix + "self_attn.k_proj.weight", kv_width, dim);
    w.k_norm = bind.vector(prefix + "self_attn.k_norm.weight", spec.head_dim);
    if (!spec.values_from_keys) w.v = bind.matrix(prefix + "self_attn.v_proj.weight", kv_width, dim);
  }
  w.o = bind.matrix(prefix + "self_attn.o_proj.weight", dim, q_width);
  w.q_norm = bind.vector(prefix + "self_attn.q_norm.weight", spec.head_dim);
  w.mlp.gate = bind.matrix(prefix + "mlp.gate_proj.weight", spec.ffn_hidden, dim);
  w.mlp.up = bind.matrix(prefix + "mlp.up_proj.weight", spec.ffn_hidden, dim);
  w.mlp.down = bind.matrix(prefix + "mlp.down_proj.weight", dim, spec.ffn_hidden);
  if (spec.moe) w.moe = bind_experts(bind, prefix, *spec.moe, config.dim);
  if (config.per_layer_dim > 0) {
    w.per_layer.gate = bind.matrix(prefix + "per_layer_input_gate.weight", config.per_layer_dim, dim);
    w.per_layer.out = bind.matrix(prefix + "per_layer_projection.weight", dim, config.per_layer_dim);
    w.per_layer.post_norm = bind.vector(prefix + "post_per_layer_input_norm.weight", dim);
  }
  w.output_scale = bind.scalar(prefix + "layer_scalar");
  return w;
}

PerLayerInputWeights bind_per_layer_inputs(WeightBinder& bind, const std::string& prefix, const ModelConfig& config) {
  const int64_t width = static_cast<int64_t>(config.layers.size()) * config.per_layer_dim;
  PerLayerInputWeights w;
  w.table = bind.table(prefix + "embed_tokens_per_layer.weight", config.vocab, width);
  w.table.scale = round_to_bf16(std::sqrt(static_cast<float>(config.per_layer_dim)));
  w.projection = bind.matrix(prefix + "per_layer_model_projection.weight", width, config.dim);
  w.norm = bind.vector(prefix + "per_layer_projection_norm.weight", config.per_layer_dim);
  return w;
}

// A drafter's layer: the norms, queries and feed-forward of any other, without K and V.
LayerWeights bind_drafter_layer(WeightBinder& bind, const std::string& prefix, const DrafterConfig& config,
                                const LayerSpec& spec) {
  const int64_t dim = config.dim, q_width = static_cast<int64_t>(config.heads) * spec.head_dim;
  LayerWeights w;
  w.attn_norm = bind.vector(prefix + "input_layernorm.weight", dim);
  w.post_attn_norm = bind.vector(prefix + "post_attention_layernorm.weight", dim);
  w.ffn_norm = bind.vector(prefix + "pre_feedforward_layernorm.weight", dim);
  w.post_ffn_norm = bind.vector(prefix + "post_feedforward_layernorm.weight", dim);
  w.q = bind.matrix(prefix + "self_attn.q_proj.weight", q_width, dim);
  w.o = bind.matrix(prefix + "self_attn.o_proj.weight", dim, q_width);
  w.q_norm = bind.vector(prefix + "self_attn.q_norm.weight", spec.head_dim);
  w.mlp.gate = bind.matrix(prefix + "mlp.gate_proj.weight", spec.ffn_hidden, dim);
  w.mlp.up = bind.matrix(prefix + "mlp.up_proj.weight", spec.ffn_hidden, dim);
  w.mlp.down = bind.matrix(prefix + "mlp.down_proj.weight", dim, spec.ffn_hidden);
  w.output_scale = bind.scalar(prefix + "layer_scalar");
  return w;
}

// Released files keep these under model.vision_embedder; files saved again by newer versions of the reference under
// model.embed_vision, and MLX exports drop "model.".
VisionPatchWeights bind_vision(WeightBinder& bind, const ModelConfig& config) {
  const VisionPatchConfig& vision = *config.vision;
  const auto name = [&](const std::string& part) {
    return bind.first_of({"model.vision_embedder." + part, "model.embed_vision." + part, "vision_embedder." + part,
                          "embed_vision." + part});
  };
  VisionPatchWeights w;
  w.patch_norm = bind.vector(name("patch_ln1.weight"), vision.patch_values());
  w.patch_norm_bias = bind.vector(name("patch_ln1.bias"), vision.patch_values());
  w.dense = bind.matrix(name("patch_dense.weight"), vision.embed_dim, vision.patch_values());
  w.dense_bias = bind.vector(name("patch_dense.bias"), vision.embed_dim);
  w.embed_norm = bind.vector(name("patch_ln2.weight"), vision.embed_dim);
  w.embed_norm_bias = bind.vector(name("patch_ln2.bias"), vision.embed_dim);
  w.positions = bind.as_matrix(name("pos_embedding"), {vision.positions, 2, vision.embed_dim}, 2LL * vision.positions,
                               vision.embed_dim);
  w.position_norm = bind.vector(name("pos_norm.weight"), vision.embed_dim);
  w.position_norm_bias = bind.vector(name("pos_norm.bias"), vision.embed_dim);
  w.projection = bind.matrix(bind.first_of({"model.embed_vision.embedding_projection.weight",
                                            "model.embed_vision.multimodal_embedder.embedding_projection.weight",
                                            "embed_vision.embedding_projection.weight"}),
                             config.dim, vision.embed_dim);
  return w;
}

int64_t matrix_bytes(const QuantizedMatrix& w) { return static_cast<int64_t>(w.blocks.size()); }

int64_t decode_bytes(const ModelWeights& w, const ModelConfig& config) {
  int64_t bytes = matrix_bytes(w.embedding) + matrix_bytes(w.per_layer_inputs.projection);
  for (size_t i = 0; i < w.layers.size(); ++i) {
    const LayerWeights& l = w.layers[i];
    for (const QuantizedMatrix* m :
         {&l.q, &l.k, &l.v, &l.o, &l.mlp.gate, &l.mlp.up, &l.mlp.down, &l.per_layer.gate, &l.per_layer.out})
      bytes += matrix_bytes(*m);
    if (l.moe) {
      const MlpWeights& one = l.moe->experts.front();  // all are of one size
      bytes += matrix_bytes(l.moe->router) +
               config.layers[i].moe->active * (matrix_bytes(one.gate) + matrix_bytes(one.up) + matrix_bytes(one.down));
    }
  }
  return bytes;
}

}  // namespace

Result<ModelWeights> bind_weights(const Checkpoint& checkpoint, const ModelConfig& config, std::string_view source,
                                  Ops& ops) {
  WeightBinder bind(checkpoint, source, ops);
  const std::string prefix = bind.text_prefix();
  ModelWeights w;
  w.embedding = bind.matrix(prefix + "embed_tokens.weight", config.vocab, config.dim);
  w.embedding_scale = round_to_bf16(std::sqrt(static_cast<float>(config.dim)));
  w.final_norm = bind.vector(prefix + "norm.weight", config.dim);
  if (config.per_layer_dim > 0) w.per_layer_inputs = bind_per_layer_inputs(bind, prefix, config);
  for (size_t l = 0; l < config.layers.size(); ++l) {
    w.layers.push_back(bind_layer(bind, fmt::format("{}layers.{}.", prefix, l), config, static_cast<int32_t>(l)));
  }
  if (config.vision) w.vision = bind_vision(bind, config);
  if (config.audio) {
    w.audio_projection = bind.matrix(
        bind.first_of({"model.embed_audio.embedding_projection.weight", "embed_audio.embedding_projection.weight"}),
        config.dim, config.audio->samples_per_token);
  }
  RETURN_IF_ERROR(bind.finish());
  w.bytes_per_token = decode_bytes(w, config);
  return w;
}

Result<DrafterWeights> bind_drafter_weights(const Checkpoint& checkpoint, const DrafterConfig& config,
                                            std::string_view source, Ops& ops) {
  WeightBinder bind(checkpoint, source, ops);
  DrafterWeights w;
  w.pre_projection = bind.matrix("pre_projection.weight", config.dim, 2LL * config.backbone_dim);
  w.post_projection = bind.matrix("post_projection.weight", config.backbone_dim, config.dim);
  w.head = bind.matrix("model.embed_tokens.weight", config.vocab, config.dim);
  w.final_norm = bind.vector("model.norm.weight", config.dim);
  for (size_t l = 0; l < config.layers.size(); ++l) {
    w.layers.push_back(bind_drafter_layer(bind, fmt::format("model.layers.{}.", l), config, config.layers[l]));
  }
  RETURN_IF_ERROR(bind.finish());
  return w;
}

}  // namespace lapidary
