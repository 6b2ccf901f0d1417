// Many requests at once through real (tiny) models: every event is the one a request gets when it runs alone, in an
// engine without prefix cache, drafts or neighbours. Pieces, batches, resumed prefixes, cached pictures, preemption,
// drafts right and wrong, cancelled neighbours, precision and threads must not show.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/limits.h"
#include "base/rng.h"
#include "engine/engine_runner.h"
#include "model/decoder.h"

namespace lapidary {
namespace {

constexpr int32_t kContext = 288;

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

// What may not depend on anything but the request. Prompt log-probabilities come in pieces: put together.
struct Outcome {
  std::vector<Event> events;
  std::vector<TokenLogprob> prompt_logprobs;
  std::vector<int32_t> tokens() const {
    std::vector<int32_t> all;
    for (const Event& event : events) all.insert(all.end(), event.tokens.begin(), event.tokens.end());
    return all;
  }
  bool finished() const { return !events.empty() && events.back().finish != FinishReason::kNone; }
  void take(const Event& event) {
    prompt_logprobs.insert(prompt_logprobs.end(), event.prompt_logprobs.begin(), event.prompt_logprobs.end());
    const bool says_more = !event.tokens.empty() || event.finish != FinishReason::kNone;
    if (says_more) events.push_back(event);
  }
};
using Outcomes = std::vector<std::vector<Outcome>>;  // by request and choice

void expect_same(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b, const std::string& where) {
  ASSERT_EQ(a.size(), b.size()) << where;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].token, b[i].token) << where << ", log-probability " << i;
    ASSERT_EQ(a[i].logprob, b[i].logprob) << where << ", log-probability " << i;
    ASSERT_EQ(a[i].top, b[i].top) << where << ", log-probability " << i;
  }
}

// A cancelled answer ends early, and says the same until then.
void expect_same(const Outcome& got, const Outcome& alone, bool cancelled, const std::string& where) {
  ASSERT_TRUE(got.finished()) << where;
  if (!cancelled) {
    ASSERT_EQ(got.tokens(), alone.tokens()) << where;
    ASSERT_EQ(got.events.size(), alone.events.size()) << where;
    expect_same(got.prompt_logprobs, alone.prompt_logprobs, where);
  }
  const size_t count = cancelled ? got.events.size() - 1 : got.events.size();
  ASSERT_LE(count, alone.events.size()) << where;
  for (size_t i = 0; i < count; ++i) {
    const Event &a = got.events[i], &b = alone.events[i];
    const std::string event = where + ", event " + std::to_string(i);
    ASSERT_EQ(a.tokens, b.tokens) << event;
    ASSERT_EQ(a.text, b.text) << event;
    ASSERT_EQ(a.finish, b.finish) << event;
    ASSERT_EQ(a.stop_string, b.stop_string) << event;
    ASSERT_EQ(a.choice, b.choice) << event;
    expect_same(a.logprobs, b.logprobs, event);
  }
}

// Knows the answers by their seeds, and is wrong as often as asked.
class ScriptedDrafts final : public DraftSource {
 public:
  ScriptedDrafts(std::map<uint64_t, std::vector<int32_t>> answers, uint64_t right)
      : answers_(std::move(answers)), right_(right) {}
  void propose(std::span<DraftTask> tasks) override {
    for (DraftTask& task : tasks) task.drafts = guess(*task.sequence, task.hidden, task.most);
  }
  std::vector<int32_t> guess(const Sequence& sequence, TensorView hidden, int32_t most) {
    EXPECT_EQ(hidden.rows, 1);
    EXPECT_EQ(sequence.computed, sequence.length() - 1);
    const std::vector<int32_t>& answer = answers_.at(sequence.request.sampling.seed);
    std::vector<int32_t> drafts;
    for (int32_t j = 0; j < most; ++j) {
      const size_t index = static_cast<size_t>(sequence.length() - sequence.prompt_tokens() + j);
      const int32_t token = index < answer.size() ? answer[index] : 7;
      const bool is_right = hash_counter(sequence.request.sampling.seed, index, 0) % 8 < right_;
      drafts.push_back(is_right ? token : (token + 1) % 641);
    }
    return drafts;
  }
  std::string description() const override { return "scripted"; }

 private:
  std::map<uint64_t, std::vector<int32_t>> answers_;
  uint64_t right_;
};

class ManyRequests : public ::testing::TestWithParam<std::string> {
 protected:
  // Beginnings that come again, pictures and sound among them where the model takes any, and every option of a request.
  std::vector<GenerationRequest> make_requests(int32_t count, uint64_t seed) {
    Dice dice(seed);
    std::vector<GenerationRequest> beginnings(6);
    for (GenerationRequest& r : beginnings) {
      r.prompt = {2};
      for (int32_t i = dice.roll(1, 100); i > 0; --i) r.prompt.push_back(dice.roll(6, 500));
    }
    const std::vector<std::string> names = testing::golden_case_names(GetParam());
    for (const char* name : {"mixed", "image-70", "image-two", "video", "audio-second", "audio-three", "text-long"}) {
      if (std::find(names.begin(), names.end(), name) == names.end()) continue;
      const testing::GoldenCase golden = testing::load_golden_case(GetParam(), name);
      if (golden.prompt.size() > kContext - 80) continue;
      beginnings.emplace_back();
      beginnings.back().prompt = golden.prompt;
      beginnings.back().media = golden.media;
    }
    std::vector<GenerationRequest> requests;
    for (int32_t i = 0; i < count; ++i) {
      GenerationRequest r = beginnings[static_cast<size_t>(dice.roll(0, static_cast<int32_t>(beginnings.size()) - 1))];
      for (int32_t more = dice.once_in(3) ? 0 : dice.roll(1, 40); more > 0; --more)
        r.prompt.push_back(dice.roll(6, 500));
      r.tokens_max = dice.once_in(12) ? 0 : dice.roll(1, 40);
      r.ignore_eos = dice.once_in(2);
      SamplingParams& p = r.sampling;
      p.temperature = dice.once_in(2) ? 0.0f : 1.0f + static_cast<float>(dice.roll(0, 3));
      p.top_p = dice.once_in(2) ? 1.0f : 0.9f;
      p.min_p = dice.once_in(3) ? 0.02f : 0.0f;
      p.top_k = dice.once_in(2) ? 0 : dice.roll(1, 100);
      p.seed = seed * 1000 + static_cast<uint64_t>(i);
      if (dice.once_in(3)) p.repetition_penalty = 1.3f;
      if (dice.once_in(3)) p.repetition_window = dice.roll(0, 64);
      if (dice.once_in(3)) p.frequency_penalty = 0.5f;
      if (dice.once_in(3)) p.presence_penalty = -0.4f;
      if (dice.once_in(3)) p.logit_bias = {{dice.roll(0, 640), 6.0f}, {dice.roll(0, 640), -100.0f}};
      if (dice.once_in(4)) r.tokens_min = dice.roll(1, 30);
      if (dice.once_in(3)) r.stop_tokens = {dice.roll(6, 640), dice.roll(6, 640)};
      if (dice.once_in(2)) r.stop = {"e", "th"};
      if (dice.once_in(2)) r.logprobs = dice.roll(0, 5);
      r.prompt_logprobs = dice.once_in(6);
      r.choices = dice.once_in(5) ? dice.roll(2, 3) : 1;
      r.use_prefix_cache = !dice.once_in(10);
      r.cache_salt = dice.once_in(5) ? 1 : 0;
      requests.push_back(std::move(r));
    }
    return requests;
  }

  static EngineOptions options(Precision precision, int32_t threads) {
    EngineOptions o;
    o.ops = {.threads = threads, .precision = precision, .kv_type = DType::kBF16};
    o.context = kContext;
    o.prefix_bytes = 0;
    return o;
  }

  Outcomes run_alone(const std::vector<GenerationRequest>& requests, Precision precision) {
    Outcomes outcomes;
    const auto engine = testing::open_engine(GetParam(), options(precision, 1));
    for (const GenerationRequest& request : requests) {
      auto& choices = outcomes.emplace_back();
      for (int32_t choice = 0; choice < request.choices; ++choice) {
        GenerationRequest r = request;
        r.choices = 1;
        r.sampling.seed = choice_seed(request.sampling.seed, choice);
        r.prompt_logprobs = request.prompt_logprobs && choice == 0;
        Outcome& outcome = choices.emplace_back();
        const auto id = engine->submit(r, [&](const Event& event) { outcome.take(event); });
        EXPECT_TRUE(id) << (id ? "" : id.error().message);
        while (engine->step()) {
        }
        for (Event& event : outcome.events) event.choice = choice;
      }
    }
    return outcomes;
  }

  // All of them, arriving in bursts; every eighth is cancelled some steps after it arrived.
  void run_together(Engine& engine, const std::vector<GenerationRequest>& requests, const Outcomes& alone,
                    uint64_t seed, const std::string& where) {
    Dice dice(seed);
    Outcomes outcomes;
    for (const auto& choices : alone) outcomes.emplace_back(choices.size());
    std::vector<bool> cancelled(requests.size(), false);
    std::map<uint64_t, std::pair<size_t, int32_t>> to_cancel;  // id -> request, steps left
    size_t next = 0;
    for (bool busy = true; busy || next < requests.size();) {
      for (int32_t burst = dice.once_in(3) ? dice.roll(1, 5) : 0; burst > 0 && next < requests.size(); --burst) {
        const size_t index = next++;
        const auto id = engine.submit(requests[index], [&outcomes, index](const Event& event) {
          outcomes[index][static_cast<size_t>(event.choice)].take(event);
        });
        ASSERT_TRUE(id) << where << ": " << id.error().message;
        if (dice.once_in(8)) to_cancel[*id] = {index, dice.roll(0, 12)};
      }
      for (auto it = to_cancel.begin(); it != to_cancel.end();) {
        if (it->second.second-- > 0) {
          ++it;
          continue;
        }
        engine.cancel(it->first);
        cancelled[it->second.first] = true;
        it = to_cancel.erase(it);
      }
      busy = engine.step();
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      for (size_t choice = 0; choice < alone[i].size(); ++choice) {
        const Outcome& got = outcomes[i][choice];
        // It may have ended before it was cancelled.
        const bool cut = cancelled[i] && got.finished() && got.events.back().finish == FinishReason::kCancelled;
        expect_same(got, alone[i][choice], cut,
                    where + ", request " + std::to_string(i) + ", choice " + std::to_string(choice));
        if (HasFatalFailure()) return;
      }
    }
    EXPECT_EQ(engine.status().running + engine.status().waiting, 0);
    EXPECT_EQ(engine.status().kv_used, 0.0) << where;
  }
};

// Pages for windows of `sequences` and a single context of global ones, so that they have to give way to each other.
int64_t scarce_kv_bytes(const ModelConfig& config, const EngineOptions& o) {
  const KvLayout layout = kv_layout(config);
  const int32_t rows = std::max(o.batch_tokens_max, kLimits.image_tokens_max) + o.sequences_max - 1;
  return sliding_pages(config.sliding_window, rows, kContext, o.sequences_max) *
             kv_page_bytes(layout.groups[0], o.ops.kv_type) +
         global_pages(kContext) * kv_page_bytes(layout.groups[1], o.ops.kv_type);
}

TEST_P(ManyRequests, EveryEventIsTheOneGottenAlone) {
  constexpr int32_t kRequests = 36;
  int64_t preemptions = 0, cached = 0, media = 0, runs = 0;
  for (const Precision precision : {Precision::kFast, Precision::kFull}) {
    const uint64_t seed = precision == Precision::kFast ? 1 : 2;
    const std::vector<GenerationRequest> requests = make_requests(kRequests, seed);
    const Outcomes alone = run_alone(requests, precision);
    ASSERT_FALSE(HasFailure());
    std::map<uint64_t, std::vector<int32_t>> answers;
    for (size_t i = 0; i < requests.size(); ++i) {
      for (size_t choice = 0; choice < alone[i].size(); ++choice)
        answers[choice_seed(requests[i].sampling.seed, static_cast<int32_t>(choice))] = alone[i][choice].tokens();
    }
    const auto model = testing::open_engine(GetParam(), options(precision, 1));
    const ModelConfig config = model->model().config();
    for (const bool prefixes : {false, true}) {
      for (const bool drafts : {false, true}) {
        for (const bool scarce : {false, true}) {
          EngineOptions o = options(precision, runs % 4 == 3 ? 2 : 1);
          o.sequences_max = scarce ? 5 : 8;
          o.batch_tokens_max = runs % 3 == 0 ? 2048 : runs % 3 == 1 ? 48 : 5;
          if (prefixes) o.prefix_bytes.reset();
          if (scarce) o.kv_bytes_max = scarce_kv_bytes(config, o);
          const auto engine = testing::open_engine(GetParam(), o);
          ASSERT_NE(engine, nullptr);
          if (drafts) engine->set_draft_source(std::make_unique<ScriptedDrafts>(answers, 6));
          const std::string where = GetParam() + ", prefixes " + std::to_string(prefixes) + ", drafts " +
                                    std::to_string(drafts) + ", scarce " + std::to_string(scarce) + ", pieces of " +
                                    std::to_string(o.batch_tokens_max) + ", precision " +
                                    (precision == Precision::kFast ? "fast" : "full");
          run_together(*engine, requests, alone, seed + static_cast<uint64_t>(runs), where);
          if (HasFailure()) return;
          const EngineStatus status = engine->status();
          preemptions += status.preemptions;
          cached += status.cached_tokens;
          media += status.media_hits;
          if (!prefixes) {
            EXPECT_EQ(status.cached_tokens, 0) << where;
          }
          runs += 1;
        }
      }
    }
  }
  std::printf(
      "%s: %lld requests together, %lld preemptions, %lld tokens out of the prefix cache, %lld media "
      "encoded before\n",
      GetParam().c_str(), static_cast<long long>(runs * kRequests), static_cast<long long>(preemptions),
      static_cast<long long>(cached), static_cast<long long>(media));
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(cached, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, ManyRequests,
                         ::testing::Values("unified-a", "unified-b", "unified-c", "e2b-vision", "e4b-audio",
                                           "a26b-vision", "d31b-vision"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace lapidary
