#include "engine/scheduler.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace lapidary {
namespace {

constexpr AttentionKind kSliding = AttentionKind::kSliding, kGlobal = AttentionKind::kGlobal;

PageTable& table_of(ScheduledSequence& sequence, AttentionKind kind) {
  return sequence.tables[static_cast<size_t>(kind)];
}
const PageTable& table_of(const ScheduledSequence& sequence, AttentionKind kind) {
  return sequence.tables[static_cast<size_t>(kind)];
}

int32_t largest_block(const ScheduledSequence& sequence) {
  int32_t rows = 0;
  for (const Block& block : sequence.blocks) rows = std::max(rows, block.end - block.begin);
  return rows;
}

void insert_by_age(std::vector<ScheduledSequence*>& list, ScheduledSequence& sequence) {
  const auto place = std::find_if(list.begin(), list.end(), [&](const auto* other) { return other->id > sequence.id; });
  list.insert(place, &sequence);
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, KvPages& pages, PrefixCache& cache)
    : limits_(limits), pages_(&pages), cache_(&cache) {
  CHECK(limits.sequences_max >= 1 && limits.piece_rows_max >= 1 && limits.shared_piece_rows_max >= 1);
  CHECK(limits.step_rows_max >= limits.sequences_max && limits.window >= 1);
}

Result<void> Scheduler::check(const ScheduledSequence& sequence) const {
  const int32_t global = global_pages(sequence.positions_max), block = largest_block(sequence);
  if (global > pages_->total(kGlobal)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{} positions take {} global K/V pages of {}, there are {}: room for {} positions",
                             sequence.positions_max, global, kPagePositions, pages_->total(kGlobal),
                             pages_->total(kGlobal) * kPagePositions)};
  }
  const int32_t sliding = sliding_pages(limits_.window, std::max(block, 1), sequence.positions_max);
  if (sliding > pages_->total(kSliding)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a window of {} positions and a piece of {} take {} sliding K/V pages of {}, there are {}",
                             limits_.window, std::max(block, 1), sliding, kPagePositions, pages_->total(kSliding))};
  }
  // Beside it, every other sequence may need a row.
  const int32_t rows = limits_.step_rows_max - limits_.sequences_max + 1;
  if (block > rows) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a picture of {} tokens does not fit one step, which has room for {}", block, rows)};
  }
  return {};
}

void Scheduler::add(ScheduledSequence& sequence) {
  CHECK(!sequence.running && sequence.computed == 0);
  CHECK(sequence.known() > 0 && sequence.known() <= sequence.positions_max);
  insert_by_age(waiting_, sequence);
}

void Scheduler::remove(ScheduledSequence& sequence) {
  if (sequence.running) {
    if (sequence.uses_prefixes) cache_->keep_window(sequence.node);
    return_pages(sequence);
    cache_->trim();
  }
  CHECK(std::erase(waiting_, &sequence) + std::erase(running_, &sequence) == 1);
  std::erase_if(slices_, [&](const StepSlice& slice) { return slice.sequence == &sequence; });
}

std::span<const StepSlice> Scheduler::plan() {
  slices_.clear();
  rows_left_ = limits_.step_rows_max;
  const int64_t preemptions = preemptions_;
  plan_tokens();
  if (preemptions == preemptions_) admit_waiting();
  plan_pieces();
  plan_drafts();
  CHECK(!slices_.empty() || (running_.empty() && waiting_.empty()));
  return slices_;
}

// Every answer's next row.
void Scheduler::plan_tokens() {
  for (size_t i = 0; i < running_.size(); ++i) {
    ScheduledSequence& s = *running_[i];
    if (!s.decoding()) continue;
    if (!make_room(s, s.known(), true)) {
      CHECK(running_.back() == &s && running_.size() > 1);  // alone it fits: check()
      preempt_youngest();
      return;
    }
    give_pages(s, s.known());
    slices_.push_back({&s, s.computed, s.known(), 0});
    --rows_left_;
  }
}

void Scheduler::admit_waiting() {
  for (size_t i = 0; i < waiting_.size() && running() < limits_.sequences_max;) {
    ScheduledSequence& s = *waiting_[i];
    if (must_wait(s)) {
      ++i;
      continue;
    }
    if (!admit(s)) return;  // nobody overtakes
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    insert_by_age(running_, s);
  }
}

bool Scheduler::must_wait(const ScheduledSequence& sequence) const {
  if (sequence.after == 0) return false;
  const auto is_on_its_way = [&](const ScheduledSequence* other) {
    return other->id == sequence.after && other->computed < other->turn_end;
  };
  return std::any_of(running_.begin(), running_.end(), is_on_its_way) ||
         std::any_of(waiting_.begin(), waiting_.end(), is_on_its_way);
}

// Pages it will want until everything known, and one token more, has its place.
int32_t Scheduler::pages_wanted(const ScheduledSequence& s, AttentionKind kind) const {
  const PageTable& table = table_of(s, kind);
  const int32_t missing = pages_missing(table, std::min(s.known() + 1, s.positions_max));
  if (kind == kGlobal) return missing;
  const int32_t most = sliding_pages(limits_.window, std::max(largest_block(s), kPagePositions), s.positions_max);
  return std::max(0, std::min(missing, most - static_cast<int32_t>(table.pages.size())));
}

bool Scheduler::admit(ScheduledSequence& s) {
  PrefixCache::Prefix prefix;
  if (s.uses_prefixes) prefix = cache_->find(s.salt, s.words, std::min(s.resume_max, s.known() - 1), s.blocks);
  cache_->resume(prefix, s.tables);
  for (const AttentionKind kind : {kSliding, kGlobal}) {
    int64_t wanted = pages_wanted(s, kind);
    for (const ScheduledSequence* other : running_) wanted += pages_wanted(*other, kind);
    if (wanted <= pages_->free(kind) + pages_->idle(kind) || running_.empty()) continue;
    for (const AttentionKind back : {kSliding, kGlobal}) pages_->release_all(back, table_of(s, back));
    return false;
  }
  s.computed = prefix.positions;
  s.node = prefix.node;
  s.shared_pages = prefix.positions / kPagePositions;
  if (s.preemptions == 0) s.resumed = prefix.positions;
  s.running = true;
  // Each turn of a conversation uses its head, though the prefix it goes on from ends far behind it.
  if (s.head_end > 0 && s.computed >= s.head_end) keep_window_before(s, s.head_end);
  return true;
}

bool Scheduler::is_served(const ScheduledSequence& sequence) const {
  return std::any_of(slices_.begin(), slices_.end(), [&](const auto& slice) { return slice.sequence == &sequence; });
}

// What prompts, and answers that are computed again, may add to the step, shared evenly: a short prompt does not wait
// for a long one to end.
void Scheduler::plan_pieces() {
  const bool shared = !slices_.empty();
  std::vector<int32_t> todo;
  for (const ScheduledSequence* s : running_) {
    if (!is_served(*s)) todo.push_back(s->known() - s->computed);
  }
  if (todo.empty()) return;
  int32_t left = std::min(rows_left_, shared ? limits_.shared_piece_rows_max : limits_.piece_rows_max);
  // The most that everybody may have: what is left over by those who need less goes to the others.
  std::sort(todo.begin(), todo.end());
  int32_t share = 1, spread = left;
  for (size_t i = 0; i < todo.size(); ++i) {
    const int32_t others = static_cast<int32_t>(todo.size() - i);
    share = std::max(1, spread / others);
    if (todo[i] > share) break;
    spread -= todo[i];
  }
  bool is_first = true;
  for (size_t i = 0; i < running_.size() && left > 0; ++i) {
    ScheduledSequence& s = *running_[i];
    if (is_served(s)) continue;
    int32_t end = piece_end(s.blocks, s.computed, s.known(), std::min(share, left));
    if (!make_room(s, end, true)) {
      const int32_t rows = room(s) - s.computed;
      if (rows < 1) continue;
      end = std::min(end, piece_end(s.blocks, s.computed, s.known(), rows));
      if (end > room(s)) continue;  // a block that does not fit yet
      CHECK(make_room(s, end, false));
    }
    const int32_t rows = end - s.computed;
    if (rows > rows_left_ || (rows > left && !is_first)) continue;
    give_pages(s, end);
    slices_.push_back({&s, s.computed, end, 0});
    rows_left_ -= rows;
    left -= rows;
    is_first = false;
  }
}

// Whatever room is left; nobody gives way for a guess.
void Scheduler::plan_drafts() {
  for (StepSlice& slice : slices_) {
    ScheduledSequence& s = *slice.sequence;
    if (!s.decoding()) continue;
    const int32_t drafts = std::min({s.drafts_wanted, rows_left_, room(s) - slice.end});
    if (drafts <= 0) continue;
    CHECK(make_room(s, slice.end + drafts, false));
    give_pages(s, slice.end + drafts);
    slice.drafts = drafts;
    rows_left_ -= drafts;
  }
}

void Scheduler::commit(ScheduledSequence& s, int32_t computed) {
  CHECK(s.running && computed >= s.computed && computed <= s.known());
  const auto passes = [from = s.computed, computed](int32_t position) {
    return from < position && computed >= position;
  };
  const bool ends_turn = passes(s.turn_end), ends_head = passes(s.head_end);
  s.computed = computed;
  if (s.uses_prefixes && cache_->bytes_max() > 0) {
    for (int32_t begin = s.shared_pages * kPagePositions; begin + kPagePositions <= computed;
         begin += kPagePositions, ++s.shared_pages) {
      const auto words = std::span(s.words).subspan(static_cast<size_t>(begin), kPagePositions);
      s.node = cache_->insert(s.node, s.salt, words, begin, s.tables);
    }
    if (ends_head) keep_window_before(s, s.head_end);
    if (ends_turn) keep_window_before(s, s.turn_end);
  }
  // The next query sees a window that ends with itself, a drafter the one just before it.
  pages_->release_before(kSliding, table_of(s, kSliding), computed - limits_.window);
  cache_->trim();
}

// A later request may go on from here: from the last page that is full.
void Scheduler::keep_window_before(const ScheduledSequence& s, int32_t position) {
  cache_->keep_window(cache_->ancestor(s.node, s.shared_pages - position / kPagePositions));
}

// Positions there are pages for, if all idle ones are taken.
int32_t Scheduler::room(const ScheduledSequence& s) const {
  int64_t end = s.positions_max;
  for (const AttentionKind kind : {kSliding, kGlobal}) {
    const PageTable& table = table_of(s, kind);
    const int64_t pages = static_cast<int64_t>(table.pages.size()) + pages_->free(kind) + pages_->idle(kind);
    end = std::min(end, table.first_position + pages * kPagePositions);
  }
  return static_cast<int32_t>(end);
}

// Pages for positions [.., end): idle ones, then those of younger sequences; false when that is not enough.
bool Scheduler::make_room(ScheduledSequence& s, int32_t end, bool preempt) {
  for (const AttentionKind kind : {kSliding, kGlobal}) {
    const int32_t missing = pages_missing(table_of(s, kind), end);
    cache_->make_room(kind, missing);
    while (pages_->free(kind) < missing) {
      if (!preempt || running_.back() == &s) return false;
      preempt_youngest();
      cache_->make_room(kind, missing);
    }
  }
  return true;
}

void Scheduler::give_pages(ScheduledSequence& s, int32_t end) {
  for (const AttentionKind kind : {kSliding, kGlobal}) pages_->extend(kind, table_of(s, kind), end);
}

void Scheduler::preempt_youngest() {
  ScheduledSequence& s = *running_.back();
  running_.pop_back();
  const auto slice =
      std::find_if(slices_.begin(), slices_.end(), [&](const auto& other) { return other.sequence == &s; });
  if (slice != slices_.end()) {
    rows_left_ += slice->rows();
    slices_.erase(slice);
  }
  return_pages(s);
  s.drafts_wanted = 0;
  ++s.preemptions;
  ++preemptions_;
  insert_by_age(waiting_, s);
}

void Scheduler::return_pages(ScheduledSequence& s) {
  for (const AttentionKind kind : {kSliding, kGlobal}) pages_->release_all(kind, table_of(s, kind));
  s.computed = 0;
  s.node = PrefixCache::kNoNode;
  s.shared_pages = 0;
  s.running = false;
}

}  // namespace lapidary
