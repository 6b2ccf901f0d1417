// The engine's doors: requests come, are cancelled and are watched from several threads while it steps, and from inside
// its own events. Meant for the thread sanitizer, too.
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "engine/engine_runner.h"
#include "engine/reply_grammar.h"
#include "grammar/compile.h"

namespace lapidary {
namespace {

std::unique_ptr<Engine> open(int32_t sequences, bool drafter = false) {
  EngineOptions options;
  options.ops.threads = 1;
  options.context = 1024;
  options.sequences_max = sequences;
  if (drafter) options.draft_path = (testing::golden_model("unified-a") / "drafter").string();
  return testing::open_engine("unified-a", options);
}

GenerationRequest request(int32_t prompt, int32_t tokens, uint64_t seed) {
  GenerationRequest r;
  for (int32_t i = 0; i < prompt; ++i) r.prompt.push_back(20 + i % 300);
  r.tokens_max = tokens;
  r.ignore_eos = true;
  r.sampling.seed = seed;
  return r;
}

TEST(EngineThreads, SubmitCancelAndWatchWhileItSteps) {
  const auto engine = open(4, true);
  const GrammarPtr grammar = compile_regex("[a-z]{5,30}").value();
  constexpr uint64_t kThreads = 4, kEach = 25;
  std::atomic<int32_t> finished = 0, cancelled = 0;
  std::atomic<bool> wrong_thread = false;
  const std::thread::id engine_thread = std::this_thread::get_id();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kEach; ++i) {
        GenerationRequest r = request(10 + static_cast<int32_t>(i * 3), 20, t * kEach + i);
        r.choices = i % 5 == 0 ? 2 : 1;
        for (int32_t choice = 0; choice < r.choices && i % 3 == 0; ++choice)
          r.constraints.push_back(*make_text_grammar(grammar, *engine));
        const int32_t choices = r.choices;
        Result<uint64_t> id = Error{};
        do {
          id = engine->submit(r, [&](const Event& event) {
            if (std::this_thread::get_id() != engine_thread) wrong_thread = true;
            if (event.finish == FinishReason::kNone) return;
            ++finished;
            if (event.finish == FinishReason::kCancelled) ++cancelled;
          });
          if (!id) std::this_thread::yield();  // too many wait
        } while (!id);
        if (i % 4 == 1) engine->cancel(*id);
        const EngineStatus status = engine->status();
        EXPECT_GE(status.waiting, 0);
        EXPECT_GE(choices, 1);
      }
    });
  }
  constexpr int32_t kAll = kThreads * (kEach + kEach / 5);
  while (finished < kAll) engine->step();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(finished, kAll);
  EXPECT_GT(cancelled, 0);
  EXPECT_FALSE(wrong_thread);
  engine->step();
  EXPECT_EQ(engine->status().kv_used, 0.0);
  EXPECT_EQ(engine->status().running + engine->status().waiting, 0);
}

TEST(EngineThreads, PagesOfACancelledRequestAreFreeAfterTheStep) {
  const auto engine = open(2);
  Event last;
  const uint64_t id = *engine->submit(request(100, 100, 1), [&](const Event& event) { last = event; });
  for (int32_t i = 0; i < 5; ++i) engine->step();
  EXPECT_GT(engine->status().kv_used, 0.0);
  engine->cancel(id);
  engine->step();
  EXPECT_EQ(last.finish, FinishReason::kCancelled);
  EXPECT_EQ(engine->status().kv_used, 0.0);
  EXPECT_EQ(engine->status().running, 0);
}

TEST(EngineThreads, ARequestInTheQueueCanBeCancelled) {
  const auto engine = open(1);
  std::vector<Event> last(3);
  std::vector<uint64_t> ids;
  for (uint64_t i = 0; i < 3; ++i)
    ids.push_back(*engine->submit(request(20, 10, i), [&last, i](const Event& event) { last[i] = event; }));
  engine->step();
  EXPECT_EQ(engine->status().running, 1);
  EXPECT_EQ(engine->status().waiting, 2);
  engine->cancel(ids[1]);
  engine->step();
  EXPECT_EQ(last[1].finish, FinishReason::kCancelled);
  EXPECT_EQ(last[1].usage.completion_tokens, 0);
  EXPECT_EQ(last[1].timing.queue_ms, 0.0);  // it was never scheduled
  EXPECT_EQ(engine->status().waiting, 1);
  // One that nobody has looked at yet, too.
  const uint64_t fresh = *engine->submit(request(20, 10, 4), [&](const Event& event) { last[1] = event; });
  last[1] = {};
  engine->cancel(fresh);
  engine->step();
  EXPECT_EQ(last[1].finish, FinishReason::kCancelled);
  while (engine->step()) {
  }
  EXPECT_EQ(last[0].finish, FinishReason::kLength);
  EXPECT_EQ(last[2].finish, FinishReason::kLength);
  EXPECT_GE(last[2].timing.queue_ms, last[0].timing.queue_ms);
  EXPECT_GT(last[2].timing.queue_ms, 0.0);
}

TEST(EngineThreads, EventsMayCancelAndSubmit) {
  const auto engine = open(2, true);
  int32_t cancelled = 0, finished = 0;
  std::vector<uint64_t> ids(2);
  for (size_t i = 0; i < 2; ++i) {
    ids[i] = *engine->submit(request(10, 100, i), [&, i](const Event& event) {
      if (event.finish == FinishReason::kCancelled) {
        ++cancelled;
        // In its place comes another.
        EXPECT_TRUE(engine->submit(request(10, 5, 9), [&](const Event& next) {
          finished += next.finish == FinishReason::kLength ? 1 : 0;
          engine->cancel(next.request);  // which ends, or has ended
        }));
      } else if (!event.tokens.empty()) {
        engine->cancel(ids[i]);      // itself
        engine->cancel(ids[1 - i]);  // and its neighbour
        (void)engine->status();
      }
    });
  }
  while (engine->step()) {
  }
  EXPECT_EQ(cancelled, 2);
  EXPECT_EQ(finished, 0);
  EXPECT_EQ(engine->status().kv_used, 0.0);
}

TEST(EngineStatus, CountsWhatMetricsAskFor) {
  const auto engine = open(1, true);
  const Event first = testing::run(*engine, request(100, 30, 1)).last,
              again = testing::run(*engine, request(100, 30, 1)).last;
  const EngineStatus status = engine->status();
  EXPECT_EQ(status.prompt_tokens, 200);
  EXPECT_EQ(status.completion_tokens, 60);
  EXPECT_EQ(status.prefix_queries, 200);
  EXPECT_EQ(status.prefix_hits, again.usage.cached_tokens);
  EXPECT_GT(status.prefix_hits, 0);
  ASSERT_TRUE(first.speculation && again.speculation);
  EXPECT_EQ(status.drafts.proposed, first.speculation->proposed + again.speculation->proposed);
  EXPECT_EQ(status.drafts.accepted, first.speculation->accepted + again.speculation->accepted);
  int64_t at = 0;
  for (size_t i = 0; i < status.drafts.accepted_at.size(); ++i) {
    at += status.drafts.accepted_at[i];
    if (i > 0) {
      EXPECT_LE(status.drafts.accepted_at[i], status.drafts.accepted_at[i - 1]);
    }
  }
  EXPECT_EQ(at, status.drafts.accepted);
  EXPECT_LE(status.drafts.rounds, first.speculation->rounds + again.speculation->rounds);
  EXPECT_EQ(status.steps, 2 + first.speculation->rounds + again.speculation->rounds);
  EXPECT_EQ(std::accumulate(status.steps_by_rows.begin(), status.steps_by_rows.end(), int64_t{0}), status.steps);
  EXPECT_EQ(status.steps_by_rows[7], 1);  // the first prompt's 100 rows; of the second one few were left
  EXPECT_GE(status.step_rows, 100 + status.steps - 1);
}

}  // namespace
}  // namespace lapidary
