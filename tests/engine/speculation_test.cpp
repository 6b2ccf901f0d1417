// An answer is the same with drafts and without: every event, token and log-probability, whatever is proposed.
#include "engine/speculation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <initializer_list>

#include "base/limits.h"
#include "base/rng.h"
#include "engine/engine_runner.h"
#include "golden_support/backends.h"

namespace lapidary {
namespace {

using testing::GoldenCase;
using ::testing::HasSubstr;

constexpr int32_t kVocab = 641;  // of the smallest

std::unique_ptr<Engine> open_engine(const std::string& model, bool drafter, std::optional<int32_t> draft_tokens = {},
                                    int32_t context = 640, const std::string& device = "cpu") {
  EngineOptions options;
  options.device = device;
  options.ops.threads = 1;
  options.context = context;
  options.draft_tokens = draft_tokens;
  if (drafter) options.draft_path = (testing::golden_model(model) / "drafter").string();
  return testing::open_engine(model, options);
}

std::vector<Event> events_of(Engine& engine, const GenerationRequest& request) {
  std::vector<Event> events;
  const auto id = engine.submit(request, [&](const Event& event) { events.push_back(event); });
  EXPECT_TRUE(id) << id.error().message;
  while (engine.step()) {
  }
  EXPECT_FALSE(events.empty());
  return events;
}

std::vector<int32_t> tokens_of(const std::vector<Event>& events) {
  std::vector<int32_t> tokens;
  for (const Event& event : events) tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
  return tokens;
}

// Everything but times and the report, exactly.
void expect_same_events(const std::vector<Event>& with, const std::vector<Event>& without, const std::string& where) {
  ASSERT_EQ(tokens_of(with), tokens_of(without)) << where;
  ASSERT_EQ(with.size(), without.size()) << where;
  for (size_t i = 0; i < with.size(); ++i) {
    ASSERT_EQ(with[i].tokens, without[i].tokens) << where << ", event " << i;
    ASSERT_EQ(with[i].text, without[i].text) << where << ", event " << i;
    ASSERT_EQ(with[i].finish, without[i].finish) << where << ", event " << i;
    ASSERT_EQ(with[i].logprobs.size(), without[i].logprobs.size()) << where;
    for (size_t t = 0; t < with[i].logprobs.size(); ++t) {
      ASSERT_EQ(with[i].logprobs[t].logprob, without[i].logprobs[t].logprob) << where << ", event " << i;
      ASSERT_EQ(with[i].logprobs[t].top, without[i].logprobs[t].top) << where << ", event " << i;
    }
  }
  ASSERT_EQ(with.back().usage.completion_tokens, without.back().usage.completion_tokens) << where;
  ASSERT_FALSE(without.back().speculation) << where;
}

// What a report must say whatever the drafts were; `ended` when the answer filled all of its length.
void expect_consistent(const std::vector<Event>& events, bool ended_by_length, const std::string& where) {
  for (size_t i = 0; i + 1 < events.size(); ++i) ASSERT_FALSE(events[i].speculation) << where;
  ASSERT_TRUE(events.back().speculation) << where;
  const SpeculationReport& report = *events.back().speculation;
  ASSERT_EQ(report.rounds, static_cast<int64_t>(report.drafts.size())) << where;
  int64_t proposed = 0;
  for (const auto& drafts : report.drafts) {
    proposed += static_cast<int64_t>(drafts.size());
    ASSERT_LE(drafts.size(), static_cast<size_t>(kLimits.draft_tokens_max)) << where;
  }
  ASSERT_EQ(report.proposed, proposed) << where;
  ASSERT_LE(report.accepted, report.proposed) << where;
  // The prompt gives one token, each round one more than the drafts it keeps.
  if (ended_by_length) {
    ASSERT_EQ(static_cast<int64_t>(tokens_of(events).size()), 1 + report.rounds + report.accepted) << where;
  }
}

// Knows the answer, and is wrong as often as asked: a draft at index i of the answer is right with probability
// right / 8, by a hash of (seed, i).
class ScriptedDrafts final : public DraftSource {
 public:
  ScriptedDrafts(std::vector<int32_t> answer, uint64_t right, uint64_t seed)
      : answer_(std::move(answer)), right_(right), seed_(seed) {}
  void propose(std::span<DraftTask> tasks) override {
    for (DraftTask& task : tasks) task.drafts = guess(*task.sequence, task.hidden, task.most);
  }
  std::vector<int32_t> guess(const Sequence& sequence, TensorView hidden, int32_t most) {
    EXPECT_EQ(hidden.rows, 1);
    std::vector<int32_t> drafts;
    for (int32_t j = 0; j < most; ++j) {
      const size_t index = static_cast<size_t>(sequence.length() - sequence.prompt_tokens() + j);
      const int32_t token = index < answer_.size() ? answer_[index] : 7;
      const bool is_right = hash_counter(seed_, index, 0) % 8 < right_;
      drafts.push_back(is_right ? token : (token + 1) % kVocab);
    }
    return drafts;
  }
  std::string description() const override { return "scripted"; }

 private:
  std::vector<int32_t> answer_;
  uint64_t right_, seed_;
};

GenerationRequest request_for(const GoldenCase& golden, int32_t tokens, float temperature, uint64_t seed) {
  GenerationRequest request;
  request.prompt = golden.prompt;
  request.media = golden.media;
  request.tokens_max = tokens;
  request.ignore_eos = true;
  request.logprobs = 3;
  request.sampling = {.temperature = temperature, .top_p = 1.0f, .min_p = 0.0f, .top_k = 0, .seed = seed};
  return request;
}

// Those of the names that the model has a case of: the other variants are text only.
std::vector<std::string> cases_of(const std::string& model, std::initializer_list<const char*> names) {
  const std::vector<std::string> all = testing::golden_case_names(model);
  std::vector<std::string> present;
  for (const char* name : names) {
    if (std::find(all.begin(), all.end(), name) != all.end()) present.push_back(name);
  }
  EXPECT_GE(present.size(), 2u);
  return present;
}

class Speculation : public ::testing::TestWithParam<std::string> {};

// The windows are 7 to 33 positions: answers of 60 tokens cross them, and pages of 32, many times.
TEST_P(Speculation, AnyDraftsGiveTheSameAnswer) {
  const auto plain = open_engine(GetParam(), false);
  ASSERT_NE(plain, nullptr);
  uint64_t seed = 0;
  for (const std::string& name : cases_of(GetParam(), {"text-one-token", "text-long", "mixed"})) {
    const GoldenCase golden = testing::load_golden_case(GetParam(), name);
    for (const float temperature : {0.0f, 1.0f}) {
      const GenerationRequest request = request_for(golden, 60, temperature, ++seed);
      const std::vector<Event> expected = events_of(*plain, request);
      for (int32_t length = 0; length <= kLimits.draft_tokens_max; ++length) {  // 0: as planned
        const auto engine = open_engine(GetParam(), false, length > 0 ? std::optional(length) : std::nullopt);
        for (const uint64_t right : {0u, 5u, 8u}) {
          const std::string where = golden.id() + ", temperature " + std::to_string(temperature) + ", drafts of " +
                                    std::to_string(length) + ", right " + std::to_string(right) + "/8";
          engine->set_draft_source(std::make_unique<ScriptedDrafts>(tokens_of(expected), right, seed));
          const std::vector<Event> events = events_of(*engine, request);
          expect_same_events(events, expected, where);
          expect_consistent(events, true, where);
          const SpeculationReport& report = *events.back().speculation;
          if (right == 0) {
            EXPECT_EQ(report.accepted, 0) << where;
          }
          if (right == 8) {
            EXPECT_EQ(report.accepted, report.proposed) << where;
          }
        }
      }
    }
  }
}

// Pictures and clips through a tower stand in the prompt; their models have no drafter here, so drafts are made up.
TEST(SpeculationWithATower, AnyDraftsGiveTheSameAnswer) {
  for (const std::string model : {"e2b-vision", "e4b-vision", "a26b-vision", "d31b-vision"}) {
    const auto plain = open_engine(model, false), three = open_engine(model, false, 3),
               eight = open_engine(model, false, 8);
    ASSERT_TRUE(plain != nullptr && three != nullptr && eight != nullptr);
    uint64_t seed = 0;
    for (const std::string& name : cases_of(model, {"image-two", "video"})) {
      for (const float temperature : {0.0f, 1.0f}) {
        const GenerationRequest request = request_for(testing::load_golden_case(model, name), 40, temperature, ++seed);
        const std::vector<Event> expected = events_of(*plain, request);
        for (Engine* engine : {three.get(), eight.get()}) {
          engine->set_draft_source(std::make_unique<ScriptedDrafts>(tokens_of(expected), 5, seed));
          const std::string where = model + "/" + name + ", temperature " + std::to_string(temperature);
          const std::vector<Event> events = events_of(*engine, request);
          expect_same_events(events, expected, where);
          expect_consistent(events, true, where);
          EXPECT_GT(events.back().speculation->accepted, 0) << where;
        }
      }
    }
  }
}

// A hot sampler is mostly noise, and the noise is shared: even a drafter with random weights is right now and then.
TEST_P(Speculation, TheDrafterSharesTheNoiseOfTheModel) {
  const auto plain = open_engine(GetParam(), false);
  const auto engine = open_engine(GetParam(), true, 1);
  ASSERT_TRUE(plain != nullptr && engine != nullptr);
  int64_t accepted = 0, proposed = 0;
  for (const std::string& name : cases_of(GetParam(), {"text-short", "text-long", "chat", "image-70", "mixed"})) {
    const GoldenCase golden = testing::load_golden_case(GetParam(), name);
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      for (const float temperature : {0.0f, 1.0f, 40.0f}) {
        const GenerationRequest request = request_for(golden, 40, temperature, seed);
        const std::string where = golden.id() + ", seed " + std::to_string(seed);
        const std::vector<Event> events = events_of(*engine, request);
        expect_same_events(events, events_of(*plain, request), where);
        expect_consistent(events, true, where);
        if (temperature < 10) continue;
        accepted += events.back().speculation->accepted;
        proposed += events.back().speculation->proposed;
      }
    }
  }
  // Blind guessing would be right once in 641. A clustered head scores a fifth of the vocabulary, so it cannot draw
  // most of what a hot model draws.
  const int64_t odds = GetParam().ends_with("-mtp") ? 12 : 4;
  EXPECT_GT(accepted * odds, proposed) << accepted << " of " << proposed;
  std::printf("%s: %lld of %lld drafts accepted at temperature 40\n", GetParam().c_str(),
              static_cast<long long>(accepted), static_cast<long long>(proposed));
}

// Several answers are drafted for in one step of the drafter: not only the answers, but the drafts are the same.
TEST_P(Speculation, DraftsOfABatchAreThoseMadeAlone) {
  EngineOptions options;
  options.ops.threads = 1;
  options.context = 256;
  options.draft_path = (testing::golden_model(GetParam()) / "drafter").string();
  options.draft_tokens = 4;
  const auto alone = testing::open_engine(GetParam(), options);
  options.sequences_max = 7;
  const auto together = testing::open_engine(GetParam(), options);
  ASSERT_TRUE(alone != nullptr && together != nullptr);
  const GoldenCase golden = testing::load_golden_case(GetParam(), "text-short");
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 10; ++i) {
    requests.push_back(request_for(golden, 10 + 7 * static_cast<int32_t>(i % 4), i % 3 == 0 ? 0.0f : 20.0f, i));
    requests.back().prompt.push_back(static_cast<int32_t>(100 + i));
    requests.back().ignore_eos = i % 2 == 0;
  }
  std::vector<std::vector<Event>> events(requests.size());
  for (size_t i = 0; i < requests.size(); ++i)
    ASSERT_TRUE(together->submit(requests[i], [&events, i](const Event& event) { events[i].push_back(event); }));
  while (together->step()) {
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    const std::vector<Event> expected = events_of(*alone, requests[i]);
    EXPECT_EQ(tokens_of(events[i]), tokens_of(expected)) << i;
    EXPECT_EQ(events[i].back().speculation->drafts, expected.back().speculation->drafts) << i;
  }
}

TEST_P(Speculation, EveryBackendKeepsTheAnswer) {
  const GoldenCase golden = testing::load_golden_case(GetParam(), "text-long");
  for (const testing::Backend& backend : testing::backends()) {
    const testing::ForcedLevel forced(backend);
    const GenerationRequest request = request_for(golden, 24, 40.0f, 5);
    const auto plain = open_engine(GetParam(), false, {}, 640, backend.device);
    const auto engine = open_engine(GetParam(), true, 3, 640, backend.device);
    ASSERT_TRUE(plain != nullptr && engine != nullptr);
    expect_same_events(events_of(*engine, request), events_of(*plain, request), backend.name());
  }
}

TEST_P(Speculation, EndTokensAndStopStringsInsideDraftsEndTheAnswer) {
  const GoldenCase golden = testing::load_golden_case(GetParam(), "text-short");
  const auto plain = open_engine(GetParam(), false), three = open_engine(GetParam(), false, 3),
             eight = open_engine(GetParam(), false, 8);
  int32_t ended = 0;
  for (uint64_t seed = 1; seed <= 14; ++seed) {
    GenerationRequest request = request_for(golden, 200, 8.0f, seed);
    request.ignore_eos = false;
    if (seed % 2 == 0) {
      // A stop string from the middle of the unhindered answer.
      const std::vector<Event> whole = events_of(*plain, request);
      std::string text;
      for (const Event& event : whole) text += event.text;
      if (text.size() < 24) continue;
      request.stop = {text.substr(text.size() / 2, 5)};
    }
    GenerationRequest unhindered = request;
    unhindered.ignore_eos = true;
    unhindered.stop.clear();
    const std::vector<int32_t> endless = tokens_of(events_of(*plain, unhindered));
    const std::vector<Event> expected = events_of(*plain, request);
    ended += expected.back().finish == FinishReason::kStop ? 1 : 0;
    for (Engine* engine : {three.get(), eight.get()}) {
      // What is drafted after an end is what the model would have gone on with; it must not be seen all the same.
      engine->set_draft_source(std::make_unique<ScriptedDrafts>(endless, 8, seed));
      const std::vector<Event> events = events_of(*engine, request);
      expect_same_events(events, expected, "seed " + std::to_string(seed));
      expect_consistent(events, false, "seed " + std::to_string(seed));
    }
  }
  EXPECT_GE(ended, 5);
}

TEST_P(Speculation, LimitsInsideADraft) {
  const GoldenCase golden = testing::load_golden_case(GetParam(), "text-short");
  const int32_t prompt = static_cast<int32_t>(golden.prompt.size());
  for (int32_t room = 1; room <= 12; ++room) {
    // Once by the number of tokens, once by the context: positions of the prompt and all but the last token.
    for (const bool by_context : {false, true}) {
      const int32_t context = by_context ? prompt + room - 1 : 640;
      const auto plain = open_engine(GetParam(), false, {}, context),
                 engine = open_engine(GetParam(), false, 8, context);
      const GenerationRequest request = request_for(golden, by_context ? 1000 : room, 1.0f, 3);
      const std::vector<Event> expected = events_of(*plain, request);
      ASSERT_EQ(tokens_of(expected).size(), static_cast<size_t>(room));
      for (const uint64_t right : {0u, 6u, 8u}) {
        engine->set_draft_source(std::make_unique<ScriptedDrafts>(tokens_of(expected), right, 1));
        const std::vector<Event> events = events_of(*engine, request);
        const std::string where = (by_context ? "context, room " : "tokens, room ") + std::to_string(room);
        expect_same_events(events, expected, where);
        expect_consistent(events, true, where);
        for (const auto& drafts : events.back().speculation->drafts)
          EXPECT_LT(drafts.size(), static_cast<size_t>(room));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Speculation,
                         ::testing::Values("unified-a", "unified-b", "e2b-mtp", "e4b-mtp", "a26b", "d31b"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(SpeculationEngine, GivesBackEveryPage) {
  // A pool for one sequence: a page that is not given back is missed at once.
  const auto engine = open_engine("unified-a", true, 8, 64);
  const GoldenCase golden = testing::load_golden_case("unified-a", "text-short");
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto events = events_of(*engine, request_for(golden, 1000, 40.0f, seed));
    EXPECT_EQ(tokens_of(events).size(), 64 - golden.prompt.size() + 1);
  }
}

TEST(SpeculationEngine, CancellingDropsTheDrafts) {
  const auto engine = open_engine("unified-a", true);
  const GoldenCase golden = testing::load_golden_case("unified-a", "text-short");
  Event last;
  const auto id = engine->submit(request_for(golden, 100, 0, 0), [&](const Event& event) { last = event; });
  ASSERT_TRUE(id);
  engine->step();
  engine->step();
  engine->cancel(*id);
  while (engine->step()) {
  }
  EXPECT_EQ(last.finish, FinishReason::kCancelled);
  EXPECT_EQ(last.speculation->rounds, 1);
  EXPECT_EQ(tokens_of(events_of(*engine, request_for(golden, 9, 0, 0))).size(), 9u);
}

TEST(SpeculationEngine, RefusesADrafterOfAnotherModelAndOddLengths) {
  EngineOptions options;
  options.model_path = testing::golden_model("unified-b").string();
  options.draft_path = (testing::golden_model("unified-a") / "drafter").string();
  const auto other = Engine::open(options);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("the drafter does not belong to the model"));
  EXPECT_THAT(other.error().message, HasSubstr("backbone_hidden_size is 64, expected 80"));
  options.draft_path = "nowhere";
  EXPECT_FALSE(Engine::open(options));
  options.draft_path.clear();
  options.draft_tokens = 9;
  const auto odd = Engine::open(options);
  ASSERT_FALSE(odd);
  EXPECT_THAT(odd.error().message, HasSubstr("--draft-tokens: expected 1 to 8, found 9"));
}

}  // namespace
}  // namespace lapidary
