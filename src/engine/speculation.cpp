#include "engine/speculation.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/clock.h"

namespace lapidary {
namespace {

constexpr double kDraftedPrior = 0.6, kForcedPrior = 0.7;
constexpr double kDraftShare = 0.08;       // of a step, what one position of drafts is taken to cost at first
constexpr int32_t kPlainRoundEvery = 128;  // what a step costs without drafts is measured now and then
constexpr int32_t kFewForced = 2;          // so few a drafter may guess better, with what follows

}  // namespace

Result<std::unique_ptr<DrafterSource>> DrafterSource::open(const std::string& path, Model& model, int32_t rows_max) {
  ASSIGN_OR_RETURN(std::unique_ptr<Drafter> drafter, Drafter::open(path, model, rows_max));
  return std::unique_ptr<DrafterSource>(new DrafterSource(model, std::move(drafter), rows_max));
}

DrafterSource::DrafterSource(Model& model, std::unique_ptr<Drafter> drafter, int32_t rows_max)
    : model_(&model),
      drafter_(std::move(drafter)),
      rows_max_(rows_max),
      sampler_(model.config().vocab, model.generation_defaults().suppressed_ids),
      logits_(static_cast<size_t>(model.config().vocab)) {}

std::string DrafterSource::description() const { return drafter_->dir().path.string(); }

void DrafterSource::propose(std::span<DraftTask> tasks) {
  const size_t most = static_cast<size_t>(rows_max_);
  for (size_t begin = 0; begin < tasks.size(); begin += most) {
    propose_together(tasks.subspan(begin, std::min(most, tasks.size() - begin)));
  }
}

// One step of the drafter for each position of drafts; answers that want no more leave the batch.
void DrafterSource::propose_together(std::span<DraftTask> tasks) {
  std::vector<Row> rows;
  std::vector<TensorView> hidden;
  for (DraftTask& task : tasks) {
    CHECK(task.sequence->computed == task.sequence->length() - 1 && task.hidden.rows == 1 && task.most >= 1);
    TokenConstraint* constraint = task.sequence->rules.constraint();
    rows.push_back({&task, constraint != nullptr ? constraint->fork() : nullptr});
    hidden.push_back(task.hidden);
  }
  drafter_->begin(hidden);
  while (!rows.empty()) {
    Batch batch;
    for (const Row& row : rows) {
      const Sequence& s = *row.task->sequence;
      const int32_t held = s.length() - 1;
      Slice slice;
      slice.tables = {&s.tables[0], &s.tables[1]};
      slice.first_row = batch.rows();
      slice.rows = 1;
      slice.kv_length = held;
      slice.borrows = true;
      batch.token_ids.push_back(row.task->drafts.empty() ? s.tokens.back() : row.task->drafts.back());
      // The position of the newest token in every step: a draft is known by what is carried, not by where it stands.
      batch.positions.push_back(held);
      batch.block_ends.push_back(0);
      batch.slices.push_back(slice);
    }
    drafter_->step(batch);
    std::vector<int32_t> kept;
    std::vector<Row> going_on;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!draw(rows[i], static_cast<int32_t>(i))) continue;
      kept.push_back(static_cast<int32_t>(i));
      going_on.push_back(std::move(rows[i]));
    }
    rows = std::move(going_on);
    if (!rows.empty()) drafter_->keep(kept);
  }
}

// False when that was the last one.
bool DrafterSource::draw(Row& row, int32_t index) {
  DraftTask& task = *row.task;
  Sequence& s = *task.sequence;
  drafter_->read_logits(index, logits_);
  if (s.rules.active()) s.rules.apply_to_draft(logits_, s.tokens, row.ahead.get());
  const int32_t position = s.length() + static_cast<int32_t>(task.drafts.size());
  const int32_t token = sampler_.draw(logits_, s.request.sampling, position);
  task.drafts.push_back(token);
  if (static_cast<int32_t>(task.drafts.size()) >= task.most) return false;
  // Nothing can follow the end of an answer.
  if (std::find(s.end_tokens.begin(), s.end_tokens.end(), token) != s.end_tokens.end()) return false;
  if (row.ahead) row.ahead->accept(token);
  return !row.ahead || !row.ahead->ended();
}

void Speculation::note_round(Sequence& sequence, std::span<const int32_t> drafts, int32_t accepted) {
  const int32_t proposed = static_cast<int32_t>(drafts.size());
  if (source_) {
    ++sequence.speculation.rounds;
    sequence.speculation.proposed += proposed;
    sequence.speculation.accepted += accepted;
    sequence.speculation.drafts.emplace_back(drafts.begin(), drafts.end());
  }
  if (proposed == 0) return;
  DraftingState& state = sequence.drafting;
  (state.forced ? state.forced_history : state.history).note(proposed, accepted);
  (state.forced ? forced_ : drafted_).note(proposed, accepted);
  ++counts_.rounds;
  counts_.proposed += proposed;
  counts_.accepted += accepted;
  for (size_t i = 0; i < static_cast<size_t>(accepted) && i < counts_.accepted_at.size(); ++i) ++counts_.accepted_at[i];
}

void Speculation::propose(std::span<DraftTask> tasks, int32_t other_rows) {
  std::vector<std::vector<int32_t>> forced(tasks.size());
  bool any = source_ != nullptr;
  for (size_t i = 0; i < tasks.size(); ++i) {
    TokenConstraint* constraint = tasks[i].sequence->rules.constraint();
    if (constraint == nullptr || tasks[i].most <= 0) continue;
    forced[i] = constraint->forced_next(std::min(tasks[i].most, kLimits.forced_drafts_max));
    any = any || !forced[i].empty();
  }
  if (!any || tasks.empty()) return;
  plan(tasks, forced, static_cast<int32_t>(tasks.size()) + other_rows);
  std::vector<DraftTask> drafted;
  std::vector<size_t> indices;
  for (size_t i = 0; i < tasks.size(); ++i) {
    DraftTask& task = tasks[i];
    if (task.most <= 0) continue;
    if (task.sequence->drafting.forced) {
      task.drafts.assign(forced[i].begin(), forced[i].begin() + task.most);
    } else {
      drafted.push_back(task);
      indices.push_back(i);
    }
  }
  if (drafted.empty()) return;
  draft(drafted);
  for (size_t i = 0; i < drafted.size(); ++i) tasks[indices[i]].drafts = std::move(drafted[i].drafts);
}

// Sets most of every task to what it gets.
void Speculation::plan(std::span<DraftTask> tasks, std::span<const std::vector<int32_t>> forced, int32_t rows) {
  std::vector<DraftOutlook> outlooks;
  for (size_t i = 0; i < tasks.size(); ++i) {
    DraftingState& state = tasks[i].sequence->drafting;
    const int32_t forced_tokens = static_cast<int32_t>(forced[i].size());
    state.forced =
        forced_tokens > 0 && (!source_ || forced_tokens > std::max(kFewForced, depth_.value_or(state.depth)));
    DraftOutlook outlook;
    outlook.free = state.forced;
    if (state.forced) {
      outlook.acceptance = state.forced_history.acceptance(forced_.acceptance(kForcedPrior));
      outlook.most = forced_tokens;
    } else if (source_) {
      outlook.acceptance = state.history.acceptance(drafted_.acceptance(kDraftedPrior));
      outlook.most = std::clamp(tasks[i].most, 0, depth_.value_or(kLimits.draft_tokens_max));
    }
    outlooks.push_back(outlook);
  }
  std::vector<int32_t> depths(tasks.size(), 0);
  if (depth_) {
    for (size_t i = 0; i < tasks.size(); ++i) depths[i] = outlooks[i].most;
  } else if (!plain_round_is_due(rows)) {
    const CostCurve guess(kDraftShare * step_cost_.at(1), 0.1);
    depths = plan_draft_depths(outlooks, rows, step_cost_, draft_cost_.measured() ? draft_cost_ : guess);
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (outlooks[i].most > 0 && tasks[i].sequence->drafting.probe.due(depths[i]))
        depths[i] = std::min(DraftProbe::kDepth, outlooks[i].most);
    }
  }
  const bool plain = std::all_of(depths.begin(), depths.end(), [](int32_t depth) { return depth == 0; });
  int32_t& age = plain_age_[std::min<size_t>(std::bit_width(static_cast<uint32_t>(rows)), plain_age_.size() - 1)];
  age = plain ? 1 : age + 1;
  for (size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].most = depths[i];
    DraftingState& state = tasks[i].sequence->drafting;
    if (!state.forced && depths[i] > 0) state.depth = depths[i];
  }
}

bool Speculation::plain_round_is_due(int32_t rows) {
  const int32_t age = plain_age_[std::min<size_t>(std::bit_width(static_cast<uint32_t>(rows)), plain_age_.size() - 1)];
  return age == 0 || age > kPlainRoundEvery || !step_cost_.measured();
}

void Speculation::draft(std::span<DraftTask> tasks) {
  const Stopwatch watch;
  source_->propose(tasks);
  const double ms = watch.milliseconds();
  size_t positions = 0, drafts = 0;
  for (DraftTask& task : tasks) {
    CHECK(task.drafts.size() <= static_cast<size_t>(task.most));
    positions = std::max(positions, task.drafts.size());
    drafts += task.drafts.size();
  }
  if (drafts == 0) return;
  const size_t rows = (drafts + positions - 1) / positions;
  // The very first drafts read the drafter's weights from where they lie.
  if (std::exchange(drafted_before_, true))
    draft_cost_.note(static_cast<int32_t>(rows), ms / static_cast<double>(positions));
  for (DraftTask& task : tasks) task.sequence->timing.draft_ms += ms;
}

}  // namespace lapidary
