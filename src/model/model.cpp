#include "model/model.h"

namespace lapidary {
namespace {

// Patches are wide (6,912 values): encoding them in pieces bounds the workspace, and a piece is still a full matrix
// product.
constexpr int32_t kSoftRowsMax = 320;

}  // namespace

Result<std::unique_ptr<Model>> Model::open(const std::filesystem::path& path, std::unique_ptr<Ops> ops,
                                           const ModelLimits& limits) {
  std::unique_ptr<Model> model(new Model(std::move(ops)));
  ASSIGN_OR_RETURN(model->dir_, open_model_dir(path));
  const ModelDir& dir = model->dir_;
  ASSIGN_OR_RETURN(model->config_, read_model_config(dir.config, dir.file("config.json")));
  ASSIGN_OR_RETURN(model->defaults_,
                   read_generation_defaults(dir.generation_config, dir.file("generation_config.json"), model->config_));
  ASSIGN_OR_RETURN(model->weights_, bind_weights(dir.weights, model->config_, dir.path.string(), *model->ops_));
  ASSIGN_OR_RETURN(Decoder decoder,
                   Decoder::create(model->config_, model->weights_, *model->ops_, limits.rows_max, limits.logit_rows));
  model->decoder_.emplace(std::move(decoder));
  ASSIGN_OR_RETURN(SoftTokens soft, SoftTokens::create(model->config_, model->weights_, *model->ops_, kSoftRowsMax));
  model->soft_tokens_.emplace(std::move(soft));
  return model;
}

}  // namespace lapidary
