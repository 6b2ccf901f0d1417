// What a request may ask for, through a whole engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "engine/engine_runner.h"

namespace lapidary {
namespace {

using testing::Answer;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class RequestOptions : public ::testing::Test {
 protected:
  static std::unique_ptr<Engine> open(EngineOptions options = {}) {
    options.ops.threads = 1;
    options.context = 256;
    return testing::open_engine("unified-a", options);
  }
  static GenerationRequest request(int32_t prompt, int32_t tokens) {
    GenerationRequest r;
    for (int32_t i = 0; i < prompt; ++i) r.prompt.push_back(2 + i * 5 % 600);
    r.tokens_max = tokens;
    r.ignore_eos = true;
    r.sampling = {.temperature = 1.0f, .top_p = 1.0f, .min_p = 0.0f, .top_k = 0, .seed = 11};
    return r;
  }
  static std::string refusal(Engine& engine, GenerationRequest r) {
    const auto id = engine.submit(std::move(r), [](const Event&) {});
    return id ? "accepted" : id.error().message;
  }
};

TEST_F(RequestOptions, AConversationGoesOnWhereItEnded) {
  const auto engine = open();
  EngineOptions off;
  off.prefix_bytes = 0;
  const auto forgetful = open(off);
  GenerationRequest r = request(70, 30);
  const Answer first = testing::run(*engine, r);
  EXPECT_EQ(first.last.usage.cached_tokens, 0);
  EXPECT_EQ(testing::run(*forgetful, r).tokens, first.tokens);
  r.prompt.insert(r.prompt.end(), first.tokens.begin(), first.tokens.end());
  r.prompt.push_back(9);
  r.logprobs = 5;
  const Answer second = testing::run(*engine, r), alone = testing::run(*forgetful, r);
  EXPECT_EQ(second.last.usage.cached_tokens, 96);  // of 99 positions that were computed
  EXPECT_EQ(alone.last.usage.cached_tokens, 0);
  EXPECT_EQ(second.tokens, alone.tokens);
  for (size_t i = 0; i < alone.logprobs.size(); ++i) EXPECT_EQ(second.logprobs[i].top, alone.logprobs[i].top);
  EXPECT_GT(engine->status().prefix_bytes, 0);
  r.use_prefix_cache = false;
  EXPECT_EQ(testing::run(*engine, r).last.usage.cached_tokens, 0);
  r.use_prefix_cache = true;
  r.cache_salt = 5;
  EXPECT_EQ(testing::run(*engine, r).last.usage.cached_tokens, 0);
  r.prompt_logprobs = true;  // every row is wanted
  r.cache_salt = 0;
  EXPECT_EQ(testing::run(*engine, r).last.usage.cached_tokens, 0);
}

TEST_F(RequestOptions, SoDoesOneThatNearlyFillsTheContext) {
  const auto engine = open();
  GenerationRequest r = request(170, 50);
  const Answer first = testing::run(*engine, r);
  r.prompt.insert(r.prompt.end(), first.tokens.begin(), first.tokens.end());
  r.prompt.push_back(9);
  r.tokens_max = 10;
  EXPECT_EQ(testing::run(*engine, r).last.usage.cached_tokens, 192);  // of 219 positions that were computed
}

TEST_F(RequestOptions, ChoicesShareThePromptAndAreDrawnByTheirOwnSeeds) {
  EngineOptions options;
  options.sequences_max = 4;
  const auto engine = open(options), alone = open();
  GenerationRequest r = request(100, 12);
  r.choices = 3;
  std::map<int32_t, std::vector<int32_t>> tokens;
  std::map<int32_t, Event> last;
  const auto id = engine->submit(r, [&](const Event& event) {
    tokens[event.choice].insert(tokens[event.choice].end(), event.tokens.begin(), event.tokens.end());
    last[event.choice] = event;
  });
  ASSERT_TRUE(id);
  while (engine->step()) {
  }
  ASSERT_EQ(last.size(), 3u);
  for (const auto& [choice, event] : last) {
    EXPECT_EQ(event.request, *id);
    EXPECT_EQ(event.finish, FinishReason::kLength);
    EXPECT_EQ(event.usage.cached_tokens, choice == 0 ? 0 : 96);
    GenerationRequest single = request(100, 12);
    single.sampling.seed = choice_seed(11, choice);
    EXPECT_EQ(tokens[choice], testing::run(*alone, single).tokens) << choice;
  }
  EXPECT_NE(tokens[0], tokens[1]);
  // All of them end when the request is cancelled.
  last.clear();
  const auto other = engine->submit(r, [&](const Event& event) { last[event.choice] = event; });
  for (int32_t i = 0; i < 4; ++i) engine->step();
  EXPECT_EQ(engine->status().running, 3);
  engine->cancel(*other);
  EXPECT_FALSE(engine->step());
  ASSERT_EQ(last.size(), 3u);
  for (const auto& [choice, event] : last) EXPECT_EQ(event.finish, FinishReason::kCancelled);
}

TEST_F(RequestOptions, NothingEndsAnAnswerBeforeItsLeastTokens) {
  const auto engine = open();
  GenerationRequest r = request(10, 40);
  r.sampling.temperature = 0;
  const Answer free_answer = testing::run(*engine, r);
  r.stop_tokens = {free_answer.tokens[2]};
  Answer answer = testing::run(*engine, r);
  EXPECT_EQ(answer.last.finish, FinishReason::kStop);
  EXPECT_EQ(answer.tokens.back(), r.stop_tokens[0]);
  EXPECT_LE(answer.tokens.size(), 3u);
  r.tokens_min = 8;
  answer = testing::run(*engine, r);
  ASSERT_GT(answer.tokens.size(), 8u);
  EXPECT_THAT(std::vector<int32_t>(answer.tokens.begin(), answer.tokens.begin() + 8), Not(Contains(r.stop_tokens[0])));
  // Text of those tokens may hold a stop string; later text may not.
  r.stop_tokens.clear();
  r.stop = {free_answer.text.substr(0, 2)};
  answer = testing::run(*engine, r);
  EXPECT_GE(answer.tokens.size(), 8u);
  EXPECT_EQ(answer.text.substr(0, 2), r.stop[0]);
  r.tokens_min = 0;
  answer = testing::run(*engine, r);
  EXPECT_EQ(answer.text, "");
  EXPECT_EQ(answer.last.stop_string, r.stop[0]);
}

class MultiplesOfThree final : public TokenConstraint {
 public:
  bool allowed_next(std::span<uint64_t> allowed) override {
    for (size_t id = 6; id < 600; id += 3) allowed[id / 64] |= 1ull << (id % 64);
    return true;
  }
  void accept(int32_t token) override { told.push_back(token); }
  std::vector<int32_t> told;
};

TEST_F(RequestOptions, AConstraintChoosesWhatMayComeWithDraftsToo) {
  EngineOptions options;
  options.draft_path = (testing::golden_model("unified-a") / "drafter").string();
  const auto plain = open(), drafting = open(options);
  std::vector<int32_t> first;
  for (Engine* engine : {plain.get(), drafting.get()}) {
    const auto threes = std::make_shared<MultiplesOfThree>();
    GenerationRequest r = request(20, 40);
    r.sampling.temperature = 3;
    r.constraints = {threes};
    const Answer answer = testing::run(*engine, r);
    EXPECT_EQ(answer.tokens.size(), 40u);
    EXPECT_EQ(threes->told, answer.tokens);
    for (const int32_t token : answer.tokens) EXPECT_EQ(token % 3, 0);
    if (first.empty()) first = answer.tokens;
    EXPECT_EQ(answer.tokens, first);
  }
}

TEST_F(RequestOptions, RefusesWhatHasNoMeaning) {
  const auto engine = open();
  const auto odd = [&](auto change) {
    GenerationRequest r = request(5, 5);
    change(r);
    return refusal(*engine, r);
  };
  EXPECT_THAT(odd([](auto& r) {
                r.sampling.logit_bias = {{641, 1.0f}};
              }),
              HasSubstr("logit bias 0: expected an id in [0, 641), found 641"));
  EXPECT_THAT(odd([](auto& r) {
                r.sampling.logit_bias = {{5, 101.0f}};
              }),
              HasSubstr("logit bias of token 5: expected -100 to 100, found 101"));
  EXPECT_THAT(odd([](auto& r) { r.sampling.logit_bias.assign(1025, {5, 1.0f}); }), HasSubstr("at most 1024 entries"));
  EXPECT_THAT(odd([](auto& r) { r.sampling.repetition_penalty = 0; }), HasSubstr("a repetition penalty in (0, 100]"));
  EXPECT_THAT(odd([](auto& r) { r.sampling.frequency_penalty = std::numeric_limits<float>::quiet_NaN(); }),
              HasSubstr("penalties in [-2, 2]"));
  EXPECT_THAT(odd([](auto& r) { r.sampling.presence_penalty = -2.5f; }), HasSubstr("penalties in [-2, 2]"));
  EXPECT_THAT(odd([](auto& r) { r.sampling.repetition_window = -2; }), HasSubstr("at least -1"));
  EXPECT_THAT(odd([](auto& r) { r.stop_tokens = {-1}; }), HasSubstr("stop token 0: expected an id"));
  EXPECT_THAT(odd([](auto& r) { r.stop_tokens.assign(65, 5); }),
              HasSubstr("stop tokens: expected at most 64, found 65"));
  EXPECT_THAT(odd([](auto& r) { r.tokens_min = -1; }), HasSubstr("least tokens: expected 0 or more, found -1"));
  EXPECT_THAT(odd([](auto& r) { r.choices = 0; }), HasSubstr("choices: expected 1 to 128, found 0"));
  EXPECT_THAT(odd([](auto& r) { r.choices = 129; }), HasSubstr("choices: expected 1 to 128, found 129"));
  EngineOptions options;
  options.model_path = testing::golden_model("unified-a").string();
  options.sequences_max = 0;
  EXPECT_THAT(Engine::open(options).error().message, HasSubstr("--sequences-max: expected 1 to 1024, found 0"));
  options.sequences_max = 1;
  options.prefix_bytes = -1;
  EXPECT_THAT(Engine::open(options).error().message, HasSubstr("--prefix-cache: expected 0 bytes or more, found -1"));
}

}  // namespace
}  // namespace lapidary
