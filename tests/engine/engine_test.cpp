#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "engine/engine_runner.h"

namespace lapidary {
namespace {

using testing::Answer;
using ::testing::HasSubstr;

class EngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> open(EngineOptions options = {}) {
    options.ops.threads = 1;
    if (!options.context) options.context = 256;
    return testing::open_engine("unified-a", options);
  }
  static GenerationRequest request(std::vector<int32_t> prompt, int32_t tokens) {
    GenerationRequest r;
    r.prompt = std::move(prompt);
    r.tokens_max = tokens;
    r.ignore_eos = true;
    return r;
  }
  static std::string refusal(Engine& engine, GenerationRequest r) {
    const auto id = engine.submit(std::move(r), [](const Event&) {});
    return id ? "accepted" : id.error().message;
  }
};

TEST_F(EngineTest, RefusesWhatTheModelCannotTake) {
  const auto engine = open();
  EXPECT_THAT(refusal(*engine, request({}, 1)), HasSubstr("prompt is empty"));
  EXPECT_THAT(refusal(*engine, request({2, 641}, 1)),
              HasSubstr("prompt token 1: expected an id in [0, 641), found 641"));
  EXPECT_THAT(refusal(*engine, request({-1}, 1)), HasSubstr("found -1"));
  EXPECT_THAT(refusal(*engine, request(std::vector<int32_t>(257, 5), 1)),
              HasSubstr("257 tokens, the context holds 256"));
  GenerationRequest odd = request({2, 5}, 1);
  odd.sampling.top_p = 0;
  EXPECT_THAT(refusal(*engine, odd), HasSubstr("top-p in (0, 1]"));
  GenerationRequest picture = request({2, 5, 5}, 1);
  auto input = std::make_shared<MediaInput>();
  input->rows = 1;
  input->cols = 7;
  input->values.resize(7);
  picture.media = {{1, 2, input}};
  EXPECT_THAT(refusal(*engine, picture), HasSubstr("an image: expected rows of 6912 values"));
  input->cols = 6912;
  input->values.resize(6912);
  input->positions = {0, 288};
  EXPECT_THAT(refusal(*engine, picture), HasSubstr("patch position 288 lies outside the model's 288 positions"));
}

TEST_F(EngineTest, RefusesAContextBeyondTheModel) {
  EngineOptions options;
  options.model_path = testing::golden_model("unified-a").string();
  options.context = 1 << 24;
  const auto engine = Engine::open(options);
  ASSERT_FALSE(engine);
  EXPECT_THAT(engine.error().message, HasSubstr("(the model's limit), found 16777216"));
}

TEST_F(EngineTest, EndsAtTheContextAndAtTheTokenLimit) {
  const auto engine = open();
  Answer answer = testing::run(*engine, request({2, 5, 9}, 7));
  EXPECT_EQ(answer.tokens.size(), 7u);
  EXPECT_EQ(answer.last.finish, FinishReason::kLength);
  EXPECT_EQ(answer.last.usage.completion_tokens, 7);
  // 256 positions are computed; the token drawn from the last one is the end.
  answer = testing::run(*engine, request({2, 5, 9}, 10000));
  EXPECT_EQ(answer.tokens.size(), 256u - 3 + 1);
  EXPECT_EQ(answer.last.finish, FinishReason::kLength);
}

TEST_F(EngineTest, ScoringGeneratesNothing) {
  const auto engine = open();
  GenerationRequest r = request({2, 5, 9, 11}, 0);
  r.prompt_logprobs = true;
  const Answer answer = testing::run(*engine, r);
  EXPECT_TRUE(answer.tokens.empty());
  ASSERT_EQ(answer.prompt_logprobs.size(), 3u);
  EXPECT_EQ(answer.prompt_logprobs[2].token, 11);
}

TEST_F(EngineTest, TheSameSeedDrawsTheSameAnswerWhateverRanBefore) {
  const auto engine = open();
  GenerationRequest r = request({2, 5, 9}, 40);
  r.sampling = {.temperature = 1.0f, .top_p = 0.95f, .min_p = 0.0f, .top_k = 64, .seed = 7};
  const Answer first = testing::run(*engine, r);
  testing::run(*engine, request({2, 100, 101, 102}, 20));
  EXPECT_EQ(testing::run(*engine, r).tokens, first.tokens);
  r.sampling.seed = 8;
  EXPECT_NE(testing::run(*engine, r).tokens, first.tokens);
}

TEST_F(EngineTest, StopsAtAStopStringAndNeverShowsIt) {
  const auto engine = open();
  GenerationRequest r = request({2, 5, 9}, 40);
  r.sampling.temperature = 0;
  const std::string whole = testing::run(*engine, r).text;
  ASSERT_GT(whole.size(), 12u);
  r.stop = {whole.substr(6, 4)};
  const Answer answer = testing::run(*engine, r);
  EXPECT_EQ(answer.text, whole.substr(0, whole.find(r.stop[0])));
  EXPECT_EQ(answer.last.finish, FinishReason::kStop);
}

TEST_F(EngineTest, NeverChoosesSuppressedTokens) {
  const auto engine = open();
  const std::vector<int32_t>& suppressed = engine->model().generation_defaults().suppressed_ids;
  ASSERT_FALSE(suppressed.empty());
  GenerationRequest r = request({2, 5, 9}, 200);
  r.sampling = {.temperature = 3.0f, .top_p = 1.0f, .min_p = 0.0f, .top_k = 0, .seed = 3};
  for (const int32_t token : testing::run(*engine, r).tokens) {
    EXPECT_THAT(suppressed, ::testing::Not(::testing::Contains(token)));
  }
}

TEST_F(EngineTest, CancelsWaitingAndRunningRequests) {
  const auto engine = open();
  std::map<uint64_t, Event> last;
  const auto sink = [&](const Event& event) { last[event.request] = event; };
  const uint64_t running = *engine->submit(request({2, 5}, 200), sink),
                 waiting = *engine->submit(request({2, 6}, 200), sink);
  engine->step();
  engine->step();
  std::thread other([&] {
    engine->cancel(waiting);
    engine->cancel(running);
    engine->cancel(99);
  });
  other.join();
  while (engine->step()) {
  }
  EXPECT_EQ(last[running].finish, FinishReason::kCancelled);
  EXPECT_EQ(last[running].usage.completion_tokens, 2);
  EXPECT_EQ(last[waiting].finish, FinishReason::kCancelled);
  EXPECT_EQ(last[waiting].usage.completion_tokens, 0);
  EXPECT_EQ(testing::run(*engine, request({2, 5}, 3)).tokens.size(), 3u);
}

TEST_F(EngineTest, RefusesMoreWaitingRequestsThanAllowed) {
  EngineOptions options;
  options.requests_max = 2;
  const auto engine = open(options);
  EXPECT_EQ(refusal(*engine, request({2}, 1)), "accepted");
  EXPECT_EQ(refusal(*engine, request({2}, 1)), "accepted");
  EXPECT_THAT(refusal(*engine, request({2}, 1)), HasSubstr("2 requests are waiting"));
  while (engine->step()) {
  }
}

}  // namespace
}  // namespace lapidary
