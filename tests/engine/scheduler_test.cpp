// Single decisions of the scheduler and the prefix cache; tests/sim lets them live through random days.
#include "engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace lapidary {
namespace {

using ::testing::HasSubstr;

constexpr AttentionKind kSliding = AttentionKind::kSliding, kGlobal = AttentionKind::kGlobal;

// Words of a prompt: `first`, first + 1, ...
std::unique_ptr<ScheduledSequence> sequence(uint64_t id, int32_t prompt, int32_t positions_max,
                                            PositionWord first = 1) {
  auto s = std::make_unique<ScheduledSequence>();
  s->id = id;
  for (int32_t i = 0; i < prompt; ++i) s->words.push_back(first + static_cast<PositionWord>(i));
  s->turn_end = s->resume_max = prompt;
  s->positions_max = positions_max;
  return s;
}

struct Bench {
  explicit Bench(SchedulerLimits limits, std::array<int32_t, kAttentionKinds> totals, int64_t prefix_bytes = 0)
      : pages(totals), cache(pages, {10, 1}, limits.window, prefix_bytes), scheduler(limits, pages, cache) {}

  // What the plan gives a sequence; no slice: no rows.
  static StepSlice slice_of(std::span<const StepSlice> plan, const ScheduledSequence& s) {
    for (const StepSlice& slice : plan) {
      if (slice.sequence == &s) return slice;
    }
    return {};
  }
  void commit(std::span<const StepSlice> plan) {
    const std::vector<StepSlice> slices(plan.begin(), plan.end());
    for (const StepSlice& slice : slices) {
      if (slice.end == slice.sequence->known()) slice.sequence->words.push_back(7);
      scheduler.commit(*slice.sequence, slice.end);
    }
  }

  KvPages pages;
  PrefixCache cache;
  Scheduler scheduler;
};

TEST(Scheduler, RefusesWhatCanNeverFitAndSaysWhy) {
  Bench bench({.sequences_max = 4, .step_rows_max = 40, .piece_rows_max = 32, .window = 50}, {6, 4});
  EXPECT_TRUE(bench.scheduler.check(*sequence(1, 100, 128)));
  const auto global = bench.scheduler.check(*sequence(1, 100, 129));
  ASSERT_FALSE(global);
  EXPECT_THAT(global.error().message,
              HasSubstr("129 positions take 5 global K/V pages of 32, there are 4: room for 128"));
  auto picture = sequence(1, 100, 128);
  picture->blocks = {{10, 47}};
  EXPECT_TRUE(bench.scheduler.check(*picture));
  picture->blocks = {{10, 48}};
  const auto rows = bench.scheduler.check(*picture);
  ASSERT_FALSE(rows);
  EXPECT_THAT(rows.error().message, HasSubstr("a picture of 38 tokens does not fit one step, which has room for 37"));
  Bench narrow({.step_rows_max = 200, .window = 50}, {4, 10});
  picture = sequence(1, 200, 300);
  EXPECT_TRUE(narrow.scheduler.check(*picture));
  picture->blocks = {{10, 100}};
  const auto sliding = narrow.scheduler.check(*picture);
  ASSERT_FALSE(sliding);
  EXPECT_THAT(sliding.error().message,
              HasSubstr("a window of 50 positions and a piece of 90 take 6 sliding K/V pages"));
}

TEST(Scheduler, ALongPromptLeavesRunningAnswersTheirRhythmAndShortPromptsTheirShare) {
  Bench bench(
      {.sequences_max = 4, .step_rows_max = 204, .piece_rows_max = 200, .shared_piece_rows_max = 60, .window = 50},
      {100, 400});
  const auto answer = sequence(1, 10, 1000), long_prompt = sequence(2, 2000, 3000),
             short_prompt = sequence(3, 20, 1000);
  bench.scheduler.add(*answer);
  bench.commit(bench.scheduler.plan());
  ASSERT_TRUE(answer->decoding());
  bench.scheduler.add(*long_prompt);
  bench.scheduler.add(*short_prompt);
  const auto plan = bench.scheduler.plan();
  EXPECT_EQ(Bench::slice_of(plan, *answer).rows(), 1);
  EXPECT_EQ(Bench::slice_of(plan, *short_prompt).rows(), 20);  // less than its half
  EXPECT_EQ(Bench::slice_of(plan, *long_prompt).rows(), 40);   // all the rest
  bench.commit(plan);
  EXPECT_TRUE(short_prompt->decoding());
  const auto next = bench.scheduler.plan();
  EXPECT_EQ(Bench::slice_of(next, *long_prompt).rows(), 60);
  EXPECT_EQ(next.size(), 3u);
  bench.scheduler.remove(*answer);
  bench.scheduler.remove(*short_prompt);
  EXPECT_EQ(bench.scheduler.plan()[0].rows(), 200);  // nobody else waits
}

TEST(Scheduler, DraftsTakeWhatIsLeftAndNobodysPages) {
  Bench bench({.sequences_max = 2, .step_rows_max = 8, .piece_rows_max = 6, .shared_piece_rows_max = 2, .window = 50},
              {20, 20});
  const auto a = sequence(1, 5, 300), b = sequence(2, 5, 300, 50);
  bench.scheduler.add(*a);
  bench.scheduler.add(*b);
  while (!a->decoding() || !b->decoding()) bench.commit(bench.scheduler.plan());
  a->drafts_wanted = b->drafts_wanted = 4;
  const auto plan = bench.scheduler.plan();
  EXPECT_EQ(Bench::slice_of(plan, *a).drafts, 4);
  EXPECT_EQ(Bench::slice_of(plan, *b).drafts, 2);
}

TEST(Scheduler, TheYoungestGivesWayAndComesBack) {
  Bench bench(
      {.sequences_max = 2, .step_rows_max = 100, .piece_rows_max = 98, .shared_piece_rows_max = 98, .window = 50},
      {20, 4});
  const auto old_one = sequence(1, 40, 128), young = sequence(2, 40, 128, 50);
  bench.scheduler.add(*old_one);
  bench.scheduler.add(*young);
  bench.commit(bench.scheduler.plan());
  EXPECT_EQ(bench.scheduler.running(), 2);  // two pages each
  while (old_one->known() <= 65) bench.commit(bench.scheduler.plan());
  EXPECT_EQ(bench.scheduler.running(), 1);
  EXPECT_EQ(young->preemptions, 1);
  EXPECT_FALSE(young->running);
  EXPECT_GE(young->known(), 64);
  EXPECT_EQ(young->computed, 0);
  bench.scheduler.remove(*old_one);
  const auto plan = bench.scheduler.plan();
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0].sequence, young.get());
  EXPECT_EQ(plan[0].rows(), young->known());
  bench.scheduler.remove(*young);
  EXPECT_EQ(bench.pages.free(kGlobal), 4);
  EXPECT_EQ(bench.pages.free(kSliding), 20);
}

TEST(PrefixCache, ATurnIsResumedWhereItsWindowIsHeld) {
  Bench bench({.step_rows_max = 1000, .piece_rows_max = 1000, .window = 70}, {60, 60}, 10'000);
  const auto first = sequence(1, 330, 1000);
  bench.scheduler.add(*first);
  bench.commit(bench.scheduler.plan());
  EXPECT_EQ(first->resumed, 0);
  bench.scheduler.remove(*first);
  EXPECT_EQ(bench.cache.nodes(), 10);
  // The same beginning, another way on: up to the last whole page in common.
  auto again = sequence(2, 330, 1000);
  again->words[200] = 9999;
  bench.scheduler.add(*again);
  auto plan = bench.scheduler.plan();
  EXPECT_EQ(again->resumed, 192);
  EXPECT_EQ(plan[0].begin, 192);
  EXPECT_EQ(again->tables[static_cast<size_t>(kSliding)].first_position, 96);  // of positions 123 to 191
  bench.commit(plan);
  bench.scheduler.remove(*again);
  // A stranger does not see it, and whoever asks for all rows computes them.
  const auto stranger = sequence(3, 330, 1000), scored = sequence(4, 330, 1000), whole = sequence(5, 330, 1000);
  stranger->salt = 1;
  scored->resume_max = 40;
  whole->blocks = {{300, 325}};  // no cut inside
  for (const auto& [s, resumed] : {std::pair(stranger.get(), 0), {scored.get(), 32}, {whole.get(), 288}}) {
    bench.scheduler.add(*s);
    bench.commit(bench.scheduler.plan());
    EXPECT_EQ(s->resumed, resumed) << s->id;
    bench.scheduler.remove(*s);
  }
}

TEST(PrefixCache, AnotherConversationGoesOnBehindInstructionsThatWereUsedOften) {
  // 18 sliding pages: the window and a piece, and little beside them.
  Bench bench({.step_rows_max = 200, .piece_rows_max = 200, .window = 60}, {18, 200}, 10'000);
  const auto talk = [&](uint64_t id, int32_t prompt, int32_t changed, int32_t head) {
    auto s = sequence(id, prompt, 2000);
    s->head_end = head;
    s->words[static_cast<size_t>(changed)] = 9999;
    bench.scheduler.add(*s);
    while (s->computed < s->turn_end) bench.commit(bench.scheduler.plan());
    bench.scheduler.remove(*s);
    return s->resumed;
  };
  EXPECT_EQ(talk(1, 400, 399, 330), 0);
  // A long conversation takes all other sliding pages, turn by turn.
  int32_t resumed = 0;
  for (uint64_t turn = 2; turn < 12; ++turn) {
    const int32_t now = talk(turn, 400 + 100 * static_cast<int32_t>(turn), 350, 330);
    EXPECT_GT(now, resumed);
    resumed = now;
  }
  EXPECT_EQ(talk(12, 400, 340, 330), 320);
  // Where nobody says what instructions are, there is nothing to go on from.
  Bench other({.step_rows_max = 200, .piece_rows_max = 200, .window = 60}, {18, 200}, 10'000);
  for (uint64_t id = 1; id < 3; ++id) {
    auto s = sequence(id, 900, 2000);
    s->words[340] = id;
    other.scheduler.add(*s);
    while (s->computed < s->turn_end) other.commit(other.scheduler.plan());
    other.scheduler.remove(*s);
    EXPECT_EQ(s->resumed, 0);
  }
}

TEST(PrefixCache, WindowsAtTheEndsOfTurnsGoLastAndBytesAreKept) {
  // Two windows of two sliding pages and 20 global pages would be 60 bytes.
  Bench bench({.step_rows_max = 1000, .piece_rows_max = 1000, .window = 60}, {60, 60}, 70);
  const auto s = sequence(1, 320, 1000);
  bench.scheduler.add(*s);
  bench.commit(bench.scheduler.plan());
  bench.scheduler.remove(*s);
  EXPECT_LE(bench.cache.idle_bytes(), 70);
  EXPECT_EQ(bench.pages.idle(kGlobal), 10);
  EXPECT_GE(bench.pages.idle(kSliding), 2);
  const auto next = sequence(2, 400, 1000);
  bench.scheduler.add(*next);
  bench.scheduler.plan();
  EXPECT_EQ(next->resumed, 320);
  bench.scheduler.remove(*next);
  // Without room for idle pages there is nothing to come back to.
  Bench off({.step_rows_max = 1000, .piece_rows_max = 1000, .window = 60}, {60, 60}, 0);
  const auto once = sequence(1, 320, 1000), twice = sequence(2, 320, 1000);
  for (ScheduledSequence* each : {once.get(), twice.get()}) {
    off.scheduler.add(*each);
    off.commit(off.scheduler.plan());
    EXPECT_EQ(each->resumed, 0);
    off.scheduler.remove(*each);
  }
  EXPECT_EQ(off.pages.free(kSliding), 60);
}

}  // namespace
}  // namespace lapidary
