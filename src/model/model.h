// Model: configuration, weights and operations together; what the engine holds.
#pragma once

#include <filesystem>
#include <memory>

#include "files/model_dir.h"
#include "model/config.h"
#include "model/decoder.h"
#include "model/generation_config.h"
#include "model/soft_tokens.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace lapidary {

struct ModelLimits {
  int32_t rows_max = 2048;  // of one step
  int32_t logit_rows = 16;  // logits made at a time
};

class Model {
 public:
  // Reads the directory, checks every shape and sizes the workspace. The K/V memory is the caller's business
  // (reserve_kv).
  static Result<std::unique_ptr<Model>> open(const std::filesystem::path& path, std::unique_ptr<Ops> ops,
                                             const ModelLimits& limits);

  const ModelConfig& config() const { return config_; }
  const GenerationDefaults& generation_defaults() const { return defaults_; }
  const ModelDir& dir() const { return dir_; }
  const ModelWeights& weights() const { return weights_; }
  Ops& ops() { return *ops_; }
  std::string description() const { return ops_->description(); }  // of the backend
  Decoder& decoder() { return *decoder_; }
  SoftTokens& soft_tokens() { return *soft_tokens_; }

 private:
  explicit Model(std::unique_ptr<Ops> ops) : ops_(std::move(ops)) {}

  ModelDir dir_;  // first: weights borrow from its mapped files
  std::unique_ptr<Ops> ops_;
  ModelConfig config_;
  GenerationDefaults defaults_;
  ModelWeights weights_;
  std::optional<Decoder> decoder_;
  std::optional<SoftTokens> soft_tokens_;
};

}  // namespace lapidary
