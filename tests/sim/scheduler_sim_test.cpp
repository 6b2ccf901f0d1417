// Random days of the scheduler: arrivals, conversations that go on, shared beginnings, pictures, cancellations, drafts
// right and wrong, caches and page counts of all sizes, with a model that hashes its prefix. A day that fails prints
// its seed; LAPIDARY_SIM_SEED=n runs that day alone.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "sim/hash_model.h"

namespace lapidary::sim {
namespace {

constexpr AttentionKind kSliding = AttentionKind::kSliding, kGlobal = AttentionKind::kGlobal;
constexpr PositionWord kPicture = 1ull << 63;
constexpr uint64_t kWords = 80;  // the vocabulary; 0 ends an answer

class Dice {
 public:
  explicit Dice(uint64_t seed) : seed_(seed) {}
  int32_t roll(int32_t low, int32_t high) {  // both included
    return low + static_cast<int32_t>(hash_counter(seed_, ++rolls_, 0) % static_cast<uint64_t>(high - low + 1));
  }
  bool once_in(int32_t n) { return roll(1, n) == 1; }

 private:
  uint64_t seed_, rolls_ = 0;
};

struct SimRequest : ScheduledSequence {
  std::vector<PositionWord> prompt;
  int32_t tokens_max = 0, arrives = 0;
  int32_t cancel_step = -1;
  int32_t draft_length = 0;
  int32_t drafts_right = 0;          // of 8
  std::vector<PositionWord> alone;   // the answer when run alone
  std::vector<PositionWord> answer;  // here
  std::vector<PositionWord> drafts;  // to verify in this step
  std::set<int32_t> rows_seen;       // positions whose rows were asked for, where all are wanted
  bool wants_all_rows = false, done = false, cancelled = false;
};

// What a run of many days must have met with, or it proves nothing.
struct Coverage {
  int64_t requests = 0, steps = 0, preemptions = 0, resumed = 0, accepted = 0, rejected = 0, cancelled = 0,
          pictures = 0, refused = 0, followers = 0, shared_pages = 0;
};

uint64_t running_seed = 0;

class Day {
 public:
  Day(uint64_t seed, Coverage& coverage) : dice_(seed), coverage_(&coverage) {
    limits_.window = dice_.once_in(3) ? dice_.roll(1, 8) : dice_.roll(9, 100);
    limits_.sequences_max = dice_.roll(1, 8);
    limits_.piece_rows_max = dice_.once_in(4) ? dice_.roll(1, 8) : dice_.roll(9, 150);
    limits_.shared_piece_rows_max = dice_.roll(1, limits_.piece_rows_max);
    limits_.step_rows_max = std::max(limits_.piece_rows_max, 40) + limits_.sequences_max;
    positions_max_ = dice_.roll(60, 300);
    const int32_t alone = global_pages(positions_max_);
    totals_[static_cast<size_t>(kGlobal)] = dice_.once_in(2) ? alone + dice_.roll(0, 4) : alone * dice_.roll(1, 6);
    const int32_t window_alone = sliding_pages(limits_.window, 40, positions_max_);
    totals_[static_cast<size_t>(kSliding)] =
        dice_.once_in(2) ? window_alone + dice_.roll(0, 3) : window_alone * dice_.roll(1, 8);
    const std::array<int64_t, kAttentionKinds> bytes = {dice_.roll(1, 30), dice_.roll(1, 10)};
    const int64_t all = totals_[0] * bytes[0] + totals_[1] * bytes[1];
    bytes_max_ = dice_.once_in(4) ? 0 : dice_.roll(0, 4) * all / 4;
    pages_ = std::make_unique<KvPages>(totals_);
    cache_ = std::make_unique<PrefixCache>(*pages_, bytes, limits_.window, bytes_max_);
    scheduler_ = std::make_unique<Scheduler>(limits_, *pages_, *cache_);
    model_ = std::make_unique<PagedModel>(totals_, limits_.window);
  }

  void run(int32_t requests) {
    make_requests(requests);
    if (::testing::Test::HasFatalFailure()) return;
    size_t next = 0;
    int64_t idle_steps = 0;
    for (int32_t step = 0; next < requests_.size() || !active_.empty(); ++step) {
      ASSERT_LT(step, 200'000) << "the day does not end";
      for (; next < requests_.size() && requests_[next]->arrives <= step; ++next) arrive(*requests_[next]);
      cancel(step);
      const auto slices = scheduler_->plan();
      if (slices.empty()) {
        ASSERT_LT(++idle_steps, 100'000);
        continue;
      }
      ++coverage_->steps;
      check_plan(slices);
      if (::testing::Test::HasFatalFailure()) return;
      compute({slices.begin(), slices.end()});
      check_pages();
      if (::testing::Test::HasFatalFailure()) return;
    }
    check_end();
  }

 private:
  std::vector<PositionWord> random_words(int32_t count) {
    std::vector<PositionWord> words;
    for (int32_t i = 0; i < count; ++i) words.push_back(static_cast<PositionWord>(dice_.roll(1, kWords - 1)));
    return words;
  }

  static std::vector<Block> blocks_of(std::span<const PositionWord> words) {
    std::vector<Block> blocks;
    for (int32_t p = 0; p < static_cast<int32_t>(words.size()); ++p) {
      const PositionWord word = words[static_cast<size_t>(p)];
      if ((word & kPicture) == 0) continue;
      // The upper part names the picture, the lower byte the place in it.
      if ((word & 0xff) == 0) blocks.push_back({p, p});
      blocks.back().end = p + 1;
    }
    return blocks;
  }

  // A new beginning, or the way an earlier request went, cut somewhere, answer included.
  std::vector<PositionWord> make_prompt() {
    std::vector<PositionWord> prompt;
    const int32_t most = positions_max_ - 1;
    if (!requests_.empty() && !dice_.once_in(4)) {
      const SimRequest& earlier =
          *requests_[static_cast<size_t>(dice_.roll(0, static_cast<int32_t>(requests_.size()) - 1))];
      prompt = earlier.prompt;
      prompt.insert(prompt.end(), earlier.alone.begin(), earlier.alone.end());
      if (dice_.once_in(3)) prompt.resize(static_cast<size_t>(dice_.roll(0, static_cast<int32_t>(prompt.size()))));
      if (static_cast<int32_t>(prompt.size()) > most) prompt.resize(static_cast<size_t>(most));
      // Not in the middle of a picture.
      const auto blocks = blocks_of(earlier.prompt);
      for (const Block& block : blocks) {
        const int32_t size = static_cast<int32_t>(prompt.size());
        if (block.begin < size && size < block.end) prompt.resize(static_cast<size_t>(block.begin));
      }
    }
    const auto add = [&](const std::vector<PositionWord>& more) {
      if (static_cast<int32_t>(prompt.size() + more.size()) > most) return;
      prompt.insert(prompt.end(), more.begin(), more.end());
    };
    add(random_words(dice_.once_in(2) ? dice_.roll(0, 10) : dice_.roll(10, 120)));
    if (dice_.once_in(3)) {
      const PositionWord picture = kPicture | (static_cast<PositionWord>(dice_.roll(1, 5)) << 8);
      std::vector<PositionWord> rows;
      for (int32_t i = dice_.roll(1, 40); i > 0; --i) rows.push_back(0);
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = picture | (rows.size() << 32) | i;
      add(rows);
      add(random_words(dice_.roll(0, 20)));
    }
    if (prompt.empty()) prompt = random_words(1);
    return prompt;
  }

  static PositionWord drawn(uint64_t seed, uint64_t stream) { return mix64(stream ^ mix64(seed)) % kWords; }
  bool ends(const SimRequest& r, size_t answered, PositionWord word) const {
    return word == 0 || static_cast<int32_t>(answered) >= r.tokens_max ||
           static_cast<int32_t>(r.prompt.size() + answered) > positions_max_;
  }

  void answer_alone(SimRequest& r) {
    if (r.tokens_max == 0) return;
    const auto blocks = blocks_of(r.prompt);
    PlainModel model(limits_.window, blocks);
    uint64_t stream = model.append(r.prompt);
    for (;;) {
      const PositionWord word = drawn(r.salt, stream);
      r.alone.push_back(word);
      if (ends(r, r.alone.size(), word)) return;
      stream = model.append(std::span(&word, 1));
    }
  }

  void make_requests(int32_t count) {
    int32_t step = 0;
    const int32_t busy = dice_.once_in(2) ? 0 : dice_.roll(0, 12);
    for (int32_t i = 0; i < count; ++i) {
      auto r = std::make_unique<SimRequest>();
      const bool follows = !requests_.empty() && dice_.once_in(8);
      r->id = static_cast<uint64_t>(i) + 1;
      if (follows) {
        r->after = requests_.back()->id;
        r->prompt = requests_.back()->prompt;
      } else {
        r->prompt = make_prompt();
        step += dice_.roll(0, busy);
      }
      r->arrives = step;
      r->tokens_max = dice_.once_in(8) ? 0 : dice_.once_in(3) ? 1000 : dice_.roll(1, 60);
      r->salt = static_cast<uint64_t>(dice_.once_in(5));
      r->uses_prefixes = !dice_.once_in(10);
      r->wants_all_rows = dice_.once_in(8);
      r->draft_length = dice_.once_in(2) ? 0 : dice_.roll(1, 8);
      r->drafts_right = dice_.roll(0, 8);
      if (dice_.once_in(8)) r->cancel_step = step + dice_.roll(0, 60);
      r->words = r->prompt;
      r->blocks = blocks_of(r->prompt);
      r->turn_end = static_cast<int32_t>(r->prompt.size());
      r->head_end = dice_.roll(0, r->turn_end);
      r->resume_max = r->wants_all_rows ? 0 : r->turn_end;
      r->positions_max = std::min(positions_max_, r->turn_end + std::max(r->tokens_max - 1, 0));
      answer_alone(*r);
      coverage_->pictures += static_cast<int64_t>(r->blocks.size());
      coverage_->followers += follows;
      requests_.push_back(std::move(r));
    }
    coverage_->requests += count;
  }

  void arrive(SimRequest& r) {
    const auto fits = scheduler_->check(r);
    if (!fits) {
      // The page counts of the day are enough for everything but a block beside many others.
      EXPECT_NE(fits.error().message.find("does not fit one step"), std::string::npos) << fits.error().message;
      r.done = r.cancelled = true;
      ++coverage_->refused;
      return;
    }
    scheduler_->add(r);
    active_[r.id] = &r;
  }

  void cancel(int32_t step) {
    for (auto it = active_.begin(); it != active_.end();) {
      SimRequest& r = *it->second;
      ++it;
      if (r.cancel_step < 0 || r.cancel_step > step) continue;
      r.cancelled = true;
      ++coverage_->cancelled;
      end(r);
    }
  }

  void end(SimRequest& r) {
    coverage_->preemptions += r.preemptions;
    coverage_->resumed += r.resumed;
    scheduler_->remove(r);
    for (const PageTable& table : r.tables) ASSERT_TRUE(table.pages.empty());
    active_.erase(r.id);
    r.done = true;
  }

  void check_plan(std::span<const StepSlice> slices) {
    int32_t rows = 0, piece_rows = 0, pieces = 0, tokens = 0;
    std::set<const ScheduledSequence*> served;
    for (const StepSlice& slice : slices) {
      const SimRequest& r = static_cast<const SimRequest&>(*slice.sequence);
      ASSERT_TRUE(served.insert(slice.sequence).second);
      ASSERT_EQ(slice.begin, r.computed);
      ASSERT_GT(slice.end, slice.begin);
      ASSERT_LE(slice.end, r.known());
      ASSERT_TRUE(slice.drafts == 0 || slice.end == r.known());
      ASSERT_LE(slice.drafts, r.drafts_wanted);
      for (const Block& block : r.blocks) {
        ASSERT_FALSE(block.begin < slice.begin && slice.begin < block.end) << "a picture is cut";
        ASSERT_FALSE(block.begin < slice.end && slice.end < block.end) << "a picture is cut";
      }
      rows += slice.rows();
      if (r.decoding()) {
        ++tokens;
      } else {
        ++pieces;
        piece_rows += slice.end - slice.begin;
      }
    }
    ASSERT_LE(rows, limits_.step_rows_max);
    // One block may be larger than what prompts are allowed.
    if (pieces > 1) {
      ASSERT_LE(piece_rows, tokens > 0 ? limits_.shared_piece_rows_max : limits_.piece_rows_max);
    } else if (pieces == 1) {
      ASSERT_LE(piece_rows, std::max(tokens > 0 ? limits_.shared_piece_rows_max : limits_.piece_rows_max, 40));
    }
    // Every running answer gets its next token, and the oldest of all goes on.
    for (const auto& [id, r] : active_) {
      if (r->running && r->decoding()) {
        ASSERT_TRUE(served.count(r)) << "request " << id << " waits for its next token";
      }
    }
    const SimRequest& oldest = *active_.begin()->second;
    if (oldest.after == 0) {
      ASSERT_TRUE(served.count(&oldest)) << "request " << oldest.id << " is held up";
    }
  }

  void compute(const std::vector<StepSlice>& slices) {
    const auto word = [](const ScheduledSequence& sequence, int32_t position) {
      const SimRequest& r = static_cast<const SimRequest&>(sequence);
      return position < r.known() ? r.words[static_cast<size_t>(position)]
                                  : r.drafts[static_cast<size_t>(position - r.known())];
    };
    const std::vector<uint64_t> streams = model_->forward(slices, word);
    size_t row = 0;
    for (const StepSlice& slice : slices) {
      SimRequest& r = static_cast<SimRequest&>(*slice.sequence);
      if (r.wants_all_rows) {
        for (int32_t p = slice.begin; p < std::min(slice.end, r.turn_end); ++p) r.rows_seen.insert(p);
        if (slice.begin <= r.resume_max) r.resume_max = std::max(r.resume_max, std::min(slice.end, r.turn_end));
      }
      take(r, slice, std::span(streams).subspan(row, static_cast<size_t>(slice.rows())));
      row += static_cast<size_t>(slice.rows());
    }
  }

  void take(SimRequest& r, const StepSlice& slice, std::span<const uint64_t> streams) {
    if (slice.end < r.known()) return scheduler_->commit(r, slice.end);
    if (r.tokens_max == 0) {
      scheduler_->commit(r, slice.end);
      return end(r);
    }
    const int32_t first = slice.end - slice.begin - 1;
    for (int32_t i = 0;; ++i) {
      const PositionWord next = drawn(r.salt, streams[static_cast<size_t>(first + i)]);
      const bool as_drafted = i < slice.drafts && r.drafts[static_cast<size_t>(i)] == next;
      (as_drafted ? coverage_->accepted : coverage_->rejected) += i < slice.drafts;
      r.answer.push_back(next);
      r.words.push_back(next);
      const bool at_end = ends(r, r.answer.size(), next);
      if (as_drafted && !at_end) continue;
      scheduler_->commit(r, r.known() - 1);
      if (at_end) return end(r);
      break;
    }
    // Guesses that could still become part of the answer.
    r.drafts.clear();
    const int32_t most = std::min(r.draft_length, r.positions_max - r.known());
    for (int32_t i = 0; i < most; ++i) {
      const size_t index = r.answer.size() + static_cast<size_t>(i);
      const PositionWord right = index < r.alone.size() ? r.alone[index] : 7;
      r.drafts.push_back(dice_.roll(1, 8) <= r.drafts_right ? right : right + 1);
    }
    r.drafts_wanted = static_cast<int32_t>(r.drafts.size());
  }

  // Every page is free, or idle, or in the tables of sequences that run.
  void check_pages() {
    for (const AttentionKind kind : {kSliding, kGlobal}) {
      std::map<int32_t, int32_t> held;
      for (const auto& [id, r] : active_) {
        for (const int32_t page : r->tables[static_cast<size_t>(kind)].pages) ++held[page];
        if (!r->running) {
          ASSERT_TRUE(r->tables[static_cast<size_t>(kind)].pages.empty());
        }
      }
      ASSERT_EQ(static_cast<int32_t>(held.size()) + pages_->free(kind) + pages_->idle(kind), pages_->total(kind));
      for (const auto& [page, holders] : held) coverage_->shared_pages += holders > 1;
    }
    ASSERT_LE(cache_->idle_bytes(), bytes_max_);
  }

  void check_end() {
    for (const auto& r : requests_) {
      ASSERT_TRUE(r->done);
      if (r->cancelled) {
        ASSERT_LE(r->answer.size(), r->alone.size());
        ASSERT_TRUE(std::equal(r->answer.begin(), r->answer.end(), r->alone.begin())) << "request " << r->id;
        continue;
      }
      ASSERT_EQ(r->answer, r->alone) << "request " << r->id;
      if (r->wants_all_rows) {
        ASSERT_EQ(static_cast<int32_t>(r->rows_seen.size()), r->turn_end) << "request " << r->id;
      }
    }
    ASSERT_EQ(scheduler_->running() + scheduler_->waiting(), 0);
    for (const AttentionKind kind : {kSliding, kGlobal}) {
      ASSERT_EQ(pages_->free(kind) + pages_->idle(kind), pages_->total(kind));
      cache_->make_room(kind, pages_->total(kind));
      ASSERT_EQ(pages_->free(kind), pages_->total(kind));
    }
    ASSERT_EQ(cache_->nodes(), 0);
  }

  Dice dice_;
  Coverage* coverage_;
  SchedulerLimits limits_;
  int32_t positions_max_ = 0;
  std::array<int32_t, kAttentionKinds> totals_{};
  int64_t bytes_max_ = 0;
  std::unique_ptr<KvPages> pages_;
  std::unique_ptr<PrefixCache> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<PagedModel> model_;
  std::vector<std::unique_ptr<SimRequest>> requests_;
  std::map<uint64_t, SimRequest*> active_;
};

void say_seed(int) {
  std::fprintf(stderr, "the simulated day failed: LAPIDARY_SIM_SEED=%llu\n",
               static_cast<unsigned long long>(running_seed));
  std::_Exit(1);
}

TEST(SchedulerSim, EveryAnswerIsTheOneGivenAlone) {
  std::signal(SIGABRT, say_seed);
  const char* only = std::getenv("LAPIDARY_SIM_SEED");
  const char* count = std::getenv("LAPIDARY_SIM_DAYS");
  const uint64_t first = only ? std::strtoull(only, nullptr, 10) : 1;
  const uint64_t days = only ? 1 : count ? std::strtoull(count, nullptr, 10) : 150;
  Coverage coverage;
  for (uint64_t seed = first; seed < first + days; ++seed) {
    running_seed = seed;
    Day(seed, coverage).run(25);
    ASSERT_FALSE(HasFailure()) << "LAPIDARY_SIM_SEED=" << seed << " runs this day alone";
  }
  std::printf(
      "%lld requests in %lld steps: %lld preemptions, %lld positions resumed, drafts %lld right %lld wrong, %lld "
      "cancelled, %lld pictures, %lld followers, %lld shared pages, %lld refused\n",
      static_cast<long long>(coverage.requests), static_cast<long long>(coverage.steps),
      static_cast<long long>(coverage.preemptions), static_cast<long long>(coverage.resumed),
      static_cast<long long>(coverage.accepted), static_cast<long long>(coverage.rejected),
      static_cast<long long>(coverage.cancelled), static_cast<long long>(coverage.pictures),
      static_cast<long long>(coverage.followers), static_cast<long long>(coverage.shared_pages),
      static_cast<long long>(coverage.refused));
  if (only || count) return;
  EXPECT_GT(coverage.preemptions, 100);
  EXPECT_GT(coverage.resumed, 10'000);
  EXPECT_GT(coverage.accepted, 1000);
  EXPECT_GT(coverage.rejected, 1000);
  EXPECT_GT(coverage.cancelled, 100);
  EXPECT_GT(coverage.pictures, 100);
  EXPECT_GT(coverage.followers, 100);
  EXPECT_GT(coverage.shared_pages, 1000);
}

}  // namespace
}  // namespace lapidary::sim
