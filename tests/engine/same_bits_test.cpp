// An answer does not depend on how its prompt was cut or on threads: the same bits, in both precisions.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/engine_runner.h"
#include "golden_support/backends.h"

namespace lapidary {
namespace {

using testing::Answer;
using testing::Backend;

void expect_same_bits(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b,
                      const std::string& where) {
  ASSERT_EQ(a.size(), b.size()) << where;
  for (size_t i = 0; i < a.size(); ++i) {
    // Doubles made from the whole row of logits, and the logits of the best: equal only if the rows are.
    ASSERT_EQ(a[i].logprob, b[i].logprob) << where << ", position " << i;
    ASSERT_EQ(a[i].top, b[i].top) << where << ", position " << i;
  }
}

class SameBits : public ::testing::TestWithParam<std::string> {};

TEST_P(SameBits, HoweverThePromptIsCut) {
  std::vector<testing::GoldenCase> cases;
  const std::vector<std::string> names = testing::golden_case_names(GetParam());
  for (const char* name : {"text-long", "mixed", "video", "image-two", "image-strip", "audio-three"}) {
    // Each model has those of what it takes.
    if (std::find(names.begin(), names.end(), name) != names.end())
      cases.push_back(testing::load_golden_case(GetParam(), name));
  }
  ASSERT_FALSE(cases.empty());
  for (const Backend& backend : testing::backends()) {
    if (backend.device == "reference") continue;
    const testing::ForcedLevel forced(backend);
    for (const Precision precision : {Precision::kFast, Precision::kFull}) {
      std::vector<Answer> expected;
      for (const int32_t piece : {2048, 1, 7, 32}) {
        for (const int32_t threads : {1, 2}) {
          EngineOptions options;
          options.ops = {.threads = threads, .precision = precision, .kv_type = DType::kBF16};
          options.batch_tokens_max = piece;
          options.context = 640;
          const auto engine = testing::open_engine(GetParam(), options);
          ASSERT_NE(engine, nullptr);
          for (size_t c = 0; c < cases.size(); ++c) {
            const Answer answer = testing::run(*engine, testing::greedy_request(cases[c], 8, 64));
            if (expected.size() <= c) {
              expected.push_back(answer);
              continue;
            }
            const std::string where = cases[c].id() + " on " + backend.name() + ", pieces of " + std::to_string(piece) +
                                      ", " + std::to_string(threads) + " threads";
            ASSERT_EQ(answer.tokens, expected[c].tokens) << where;
            expect_same_bits(answer.prompt_logprobs, expected[c].prompt_logprobs, where);
            expect_same_bits(answer.logprobs, expected[c].logprobs, where);
          }
        }
      }
    }
  }
}

// The reference computes in double, and what is remembered of a picture must not round it.
TEST(SameBitsOfTheReference, WhenAPictureComesAgain) {
  for (const auto& [model, name] : {std::pair("unified-a", "image-70"), std::pair("e2b-vision", "image-strip")}) {
    EngineOptions options;
    options.device = "reference";
    options.context = 640;
    const auto engine = testing::open_engine(model, options);
    ASSERT_NE(engine, nullptr);
    GenerationRequest request = testing::greedy_request(testing::load_golden_case(model, name), 2, 64);
    request.use_prefix_cache = false;
    const Answer first = testing::run(*engine, request), again = testing::run(*engine, request);
    EXPECT_EQ(again.tokens, first.tokens) << model;
    expect_same_bits(again.prompt_logprobs, first.prompt_logprobs, model);
    expect_same_bits(again.logprobs, first.logprobs, model);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SameBits,
                         ::testing::Values("unified-a", "unified-b", "unified-c", "e2b", "e4b", "a26b", "d31b",
                                           "e2b-vision", "e4b-vision", "a26b-vision", "d31b-vision", "e2b-audio",
                                           "e4b-audio"));

}  // namespace
}  // namespace lapidary
