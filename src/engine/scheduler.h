// Scheduler: which rows of which sequences the next step computes, and whose the K/V pages are. No clock, no thread, no
// I/O: what it decides depends on what it was told, and nothing else.
//
// Sequences run in the order they arrived in, and are admitted in that order; when pages run out, the youngest that
// runs gives its pages back and is computed again later. So whoever runs is older than whoever waits, and the oldest of
// all is never held up. Running answers get their next token in every step; what prompts may add to such a step is
// bounded.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/kv_cache.h"
#include "engine/prefix_cache.h"
#include "engine/prompt_pieces.h"

namespace lapidary {

struct SchedulerLimits {
  int32_t sequences_max = 1;            // that run at a time
  int32_t step_rows_max = 2048;         // of all sequences together
  int32_t piece_rows_max = 2048;        // of prompts in one step; a block is entered whole even if it has more
  int32_t shared_piece_rows_max = 512;  // the same while other sequences wait for their next token
  int32_t window = 1;                   // of sliding layers
};

// What the scheduler knows of a sequence.
struct ScheduledSequence {
  // Set by whoever adds it, before that.
  uint64_t id = 0;            // ascending in order of arrival
  uint64_t after = 0;         // a sequence to wait for until its prompt has been computed; 0: none
  int32_t positions_max = 0;  // it will never hold more
  int32_t turn_end = 0;       // positions of its prompt: where a later request may go on
  int32_t head_end = 0;       // positions of it that other conversations may begin with, too; 0: none
  std::vector<Block> blocks;  // in order
  bool uses_prefixes = true;  // finds and leaves prefixes in the cache
  uint64_t salt = 0;          // of the prefixes it may share
  // Kept up to date between steps.
  std::vector<PositionWord> words;  // of all positions known: the prompt, then everything accepted
  int32_t resume_max = 0;           // rows from here on are wanted, even if their K and V are in the cache
  int32_t drafts_wanted = 0;        // rows to verify after the newest token

  // Set by the scheduler.
  std::array<PageTable, kAttentionKinds> tables;  // indexed by AttentionKind
  int32_t computed = 0;                           // positions whose K and V are held and certain
  int32_t resumed = 0;                            // of those, how many came out of the cache
  int32_t node = PrefixCache::kNoNode;            // of the newest page in the prefix cache
  int32_t shared_pages = 0;                       // how many pages that is
  bool running = false;
  int64_t preemptions = 0;

  int32_t known() const { return static_cast<int32_t>(words.size()); }
  // Everything but the newest token has its K and V: each step gives a token.
  bool decoding() const { return computed + 1 == known() && computed >= turn_end; }
};

// Rows [begin, end) of one sequence, and `drafts` rows after them.
struct StepSlice {
  ScheduledSequence* sequence = nullptr;
  int32_t begin = 0, end = 0;
  int32_t drafts = 0;
  int32_t rows() const { return end + drafts - begin; }
};

class Scheduler {
 public:
  // The pages and the cache outlive the scheduler.
  Scheduler(const SchedulerLimits& limits, KvPages& pages, PrefixCache& cache);

  // Whether it could run to its end if it ran alone. Errors: kInvalidArgument, with what it needs and what there is.
  Result<void> check(const ScheduledSequence& sequence) const;
  // A checked sequence waits. It stays the caller's, where it is, until removed.
  void add(ScheduledSequence& sequence);
  // It ended, whatever it did: its pages go back, or on to the prefix cache.
  void remove(ScheduledSequence& sequence);

  // The next step; empty when nobody is there. Pages are given for all of its rows. Valid until the next call.
  std::span<const StepSlice> plan();
  // The step was computed: positions [.., computed) are certain, and what follows will be computed again.
  void commit(ScheduledSequence& sequence, int32_t computed);

  int32_t running() const { return static_cast<int32_t>(running_.size()); }
  int32_t waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int64_t preemptions() const { return preemptions_; }

 private:
  void plan_tokens();
  void admit_waiting();
  void plan_pieces();
  void plan_drafts();
  bool is_served(const ScheduledSequence& sequence) const;
  bool must_wait(const ScheduledSequence& sequence) const;
  bool admit(ScheduledSequence& sequence);
  int32_t pages_wanted(const ScheduledSequence& sequence, AttentionKind kind) const;
  bool make_room(ScheduledSequence& sequence, int32_t end, bool preempt);
  void keep_window_before(const ScheduledSequence& sequence, int32_t position);
  int32_t room(const ScheduledSequence& sequence) const;
  void give_pages(ScheduledSequence& sequence, int32_t end);
  void preempt_youngest();
  void return_pages(ScheduledSequence& sequence);

  SchedulerLimits limits_;
  KvPages* pages_;
  PrefixCache* cache_;
  std::vector<ScheduledSequence*> running_, waiting_;  // oldest first
  std::vector<StepSlice> slices_;
  int32_t rows_left_ = 0;
  int64_t preemptions_ = 0;
};

}  // namespace lapidary
