#include "engine/speculation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"

namespace lapidary {

int32_t next_draft_tokens(int32_t current, int32_t proposed, int32_t accepted) {
  return accepted == proposed ? std::min(current + 1, kLimits.draft_tokens_max) : std::max(1, accepted + 1);
}

Result<std::unique_ptr<DrafterSource>> DrafterSource::open(const std::string& path, Model& model) {
  ASSIGN_OR_RETURN(std::unique_ptr<Drafter> drafter, Drafter::open(path, model, 1));
  return std::unique_ptr<DrafterSource>(new DrafterSource(model, std::move(drafter)));
}

DrafterSource::DrafterSource(Model& model, std::unique_ptr<Drafter> drafter)
    : model_(&model),
      drafter_(std::move(drafter)),
      sampler_(model.config().vocab, model.generation_defaults().suppressed_ids),
      logits_(static_cast<size_t>(model.config().vocab)) {}

std::string DrafterSource::description() const { return drafter_->dir().path.string(); }

std::vector<int32_t> DrafterSource::propose(const Sequence& sequence, TensorView hidden, int32_t most) {
  const std::vector<int32_t>& stop_ids = model_->generation_defaults().stop_ids;
  const int32_t held = sequence.length() - 1;
  CHECK(sequence.computed == held && hidden.rows == 1);
  Batch batch;
  batch.token_ids = {sequence.tokens.back()};
  // The position of the newest token in every step: a draft is known by what is carried, not by where it stands.
  batch.positions = {held};
  batch.block_ends = {0};
  Slice slice;
  slice.tables = {&sequence.tables[0], &sequence.tables[1]};
  slice.rows = 1;
  slice.kv_length = held;
  slice.borrows = true;
  batch.slices = {slice};

  std::vector<int32_t> drafts;
  drafter_->begin(hidden);
  while (static_cast<int32_t>(drafts.size()) < most) {
    drafter_->step(batch);
    drafter_->read_logits(0, logits_);
    const int32_t position = sequence.length() + static_cast<int32_t>(drafts.size());
    const int32_t token = sampler_.draw(logits_, sequence.request.sampling, position);
    drafts.push_back(token);
    batch.token_ids = {token};
    // Nothing can follow the end of an answer.
    if (!sequence.request.ignore_eos && std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end()) break;
  }
  return drafts;
}

}  // namespace lapidary
