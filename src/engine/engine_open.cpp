// Opening an engine: the model and its drafter, and room for K/V pages and encoded media.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "engine/engine.h"
#include "ops/select/select.h"

namespace lapidary {
namespace {

// What is left for the rest of the machine when the context is sized by itself.
constexpr double kMemoryShare = 0.8;
constexpr int32_t kDraftRowsMax = 64;  // answers drafted for at a time: each takes a row of the drafter's logits

Result<void> check_options(const EngineOptions& options) {
  const auto invalid = [](std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; };
  if (options.batch_tokens_max < 1)
    return invalid(fmt::format("--batch-tokens: expected at least 1, found {}", options.batch_tokens_max));
  if (options.shared_batch_tokens && *options.shared_batch_tokens < 1) {
    return invalid(fmt::format("batch tokens beside running answers: expected at least 1, found {}",
                               *options.shared_batch_tokens));
  }
  if (options.sequences_max < 1 || options.sequences_max > kLimits.sequences_max) {
    return invalid(
        fmt::format("--sequences-max: expected 1 to {}, found {}", kLimits.sequences_max, options.sequences_max));
  }
  if (options.prefix_bytes && *options.prefix_bytes < 0)
    return invalid(fmt::format("--prefix-cache: expected 0 bytes or more, found {}", *options.prefix_bytes));
  if (options.draft_tokens && (*options.draft_tokens < 1 || *options.draft_tokens > kLimits.draft_tokens_max)) {
    return invalid(
        fmt::format("--draft-tokens: expected 1 to {}, found {}", kLimits.draft_tokens_max, *options.draft_tokens));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(const EngineOptions& options) {
  RETURN_IF_ERROR(check_options(options));
  ASSIGN_OR_RETURN(std::unique_ptr<Ops> ops, make_ops(options.device, options.ops));
  // A picture enters in one piece, so a step must hold the largest, and beside it a row of every other answer.
  ModelLimits limits;
  limits.rows_max = std::max(options.batch_tokens_max, kLimits.image_tokens_max) + options.sequences_max - 1;
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, Model::open(options.model_path, std::move(ops), limits));
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::open(model->dir().path));
  if (tokenizer.vocabulary_size() > model->config().vocab) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: the tokenizer has {} ids, the model's vocabulary {}", model->dir().path.string(),
                             tokenizer.vocabulary_size(), model->config().vocab)};
  }
  std::unique_ptr<Engine> engine(new Engine(std::move(model), std::move(tokenizer), options));
  Model& m = *engine->model_;
  int64_t weight_bytes = m.dir().weights.bytes();
  if (!options.draft_path.empty()) {
    const int32_t rows = std::min(options.sequences_max, kDraftRowsMax);
    ASSIGN_OR_RETURN(std::unique_ptr<DrafterSource> drafter, DrafterSource::open(options.draft_path, m, rows));
    weight_bytes += drafter->weight_bytes();
    engine->set_draft_source(std::move(drafter));
  }
  RETURN_IF_ERROR(engine->make_room(limits, weight_bytes));
  if (m.config().takes_pictures() || m.config().takes_sound()) {
    const DType type = m.ops().activation_type();
    ASSIGN_OR_RETURN(engine->soft_, m.ops().allocate(limits.rows_max, m.config().dim, type));
    ASSIGN_OR_RETURN(engine->media_, m.ops().allocate(kLimits.image_tokens_max, m.config().dim, type));
  }
  return engine;
}

// K/V pages, and who may have them.
Result<void> Engine::make_room(const ModelLimits& limits, int64_t weight_bytes) {
  const ModelConfig& config = model_->config();
  const int64_t free_bytes = available_memory_bytes() - weight_bytes;
  const int64_t kv_bytes_max = options_.kv_bytes_max.value_or(
      std::max<int64_t>(static_cast<int64_t>(static_cast<double>(free_bytes) * kMemoryShare), 64 << 20));
  ASSIGN_OR_RETURN(memory_, plan_memory(config, options_.ops.kv_type, limits.rows_max, options_.context, kv_bytes_max,
                                        options_.sequences_max));
  plan_prefixes(memory_, config, options_.ops.kv_type, options_.prefix_bytes);
  KvLayout layout = kv_layout(config);
  const std::array<int32_t, kAttentionKinds> totals = {memory_.sliding_pages, memory_.global_pages};
  std::array<int64_t, kAttentionKinds> page_bytes;
  for (size_t kind = 0; kind < kAttentionKinds; ++kind) {
    layout.groups[kind].pages = totals[kind];
    page_bytes[kind] = kv_page_bytes(layout.groups[kind], options_.ops.kv_type);
  }
  RETURN_IF_ERROR(model_->ops().reserve_kv(layout));
  SchedulerLimits rules;
  rules.sequences_max = options_.sequences_max;
  rules.step_rows_max = limits.rows_max;
  rules.piece_rows_max = options_.batch_tokens_max;
  rules.shared_piece_rows_max = options_.shared_batch_tokens.value_or(std::max(1, options_.batch_tokens_max / 4));
  rules.window = config.sliding_window;
  pages_ = std::make_unique<KvPages>(totals);
  prefixes_ = std::make_unique<PrefixCache>(*pages_, page_bytes, config.sliding_window, memory_.prefix_bytes);
  scheduler_ = std::make_unique<Scheduler>(rules, *pages_, *prefixes_);
  return {};
}

}  // namespace lapidary
