// What is drawn with drafts is distributed as the model says. And what a grammar and drafts make together is still an
// answer.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>

#include "base/json.h"
#include "engine/engine_runner.h"
#include "engine/reply_grammar.h"
#include "grammar/compile.h"

namespace lapidary {
namespace {

std::unique_ptr<Engine> open(const std::string& path, int32_t sequences, std::optional<int32_t> draft_tokens) {
  EngineOptions options;
  options.model_path = path;
  options.draft_path = path + "/drafter";
  options.draft_tokens = draft_tokens;
  options.ops.threads = 1;
  options.context = 512;
  options.sequences_max = sequences;
  auto engine = Engine::open(options);
  if (!engine) ADD_FAILURE() << engine.error().message;
  return engine ? std::move(*engine) : nullptr;
}

// Hot enough for a drafter with random weights to be right now and then: most of a draw is the noise they share.
constexpr float kTemperature = 40.0f;

GenerationRequest request(const std::vector<int32_t>& answer, int32_t tokens, uint64_t seed) {
  GenerationRequest r;
  r.prompt = {2, 300, 301, 302};
  r.prompt.insert(r.prompt.end(), answer.begin(), answer.end());
  r.tokens_max = tokens;
  r.ignore_eos = true;
  r.sampling.temperature = kTemperature;
  r.sampling.top_p = 1;
  r.sampling.top_k = 0;
  r.sampling.seed = seed;
  return r;
}

// [vocab]: the chance of each token to follow the answer.
std::vector<double> chances(Engine& engine, const std::vector<int32_t>& answer) {
  GenerationRequest r = request(answer, 1, 0);
  std::vector<double> chances;
  r.on_logits = [&](int32_t, std::span<const float> logits) {
    for (const float logit : logits) chances.push_back(std::exp(static_cast<double>(logit / kTemperature)));
  };
  testing::run(engine, r);
  for (const int32_t id : engine.model().generation_defaults().suppressed_ids) chances[static_cast<size_t>(id)] = 0;
  const double total = std::accumulate(chances.begin(), chances.end(), 0.0);
  for (double& chance : chances) chance /= total;
  return chances;
}

// Pairs of tokens, the first drawn after the prompt and the second as a draft or in its place, by the rest of each id.
TEST(DraftDistribution, IsTheModels) {
  constexpr int32_t kAnswers = 3000;
  constexpr size_t kRests = 8;
  const auto engine = open(testing::golden_model("unified-a").string(), 16, 1);
  ASSERT_NE(engine, nullptr);
  std::array<double, kRests * kRests> expected{}, seen{};
  const std::vector<double> first = chances(*engine, {});
  for (size_t a = 0; a < first.size(); ++a) {
    if (first[a] == 0) continue;
    const std::vector<double> second = chances(*engine, {static_cast<int32_t>(a)});
    for (size_t b = 0; b < second.size(); ++b)
      expected[a % kRests * kRests + b % kRests] += kAnswers * first[a] * second[b];
  }
  int64_t accepted = 0;
  for (int32_t i = 0; i < kAnswers; ++i) {
    const auto answer = std::make_shared<std::vector<int32_t>>();
    // The last token of an answer is not drafted, so there are three.
    ASSERT_TRUE(engine->submit(request({}, 3, static_cast<uint64_t>(i)), [&, answer](const Event& event) {
      answer->insert(answer->end(), event.tokens.begin(), event.tokens.end());
      if (event.finish == FinishReason::kNone) return;
      ++seen[static_cast<size_t>((*answer)[0]) % kRests * kRests + static_cast<size_t>((*answer)[1]) % kRests];
      accepted += event.speculation->accepted;
    }));
    if (i % 64 == 63 || i + 1 == kAnswers) {
      while (engine->step()) {
      }
    }
  }
  double chi_square = 0;
  for (size_t cell = 0; cell < expected.size(); ++cell) {
    EXPECT_GT(expected[cell], 5);
    chi_square += std::pow(seen[cell] - expected[cell], 2) / expected[cell];
  }
  std::printf("chi-square %.1f of 63 degrees of freedom, %lld drafts accepted\n", chi_square,
              static_cast<long long>(accepted));
  EXPECT_LT(chi_square, 103.4);  // one in a thousand is larger
  EXPECT_GT(chi_square, 32.5);   // and one in a thousand smaller
  EXPECT_GT(accepted, kAnswers / 4);
}

TEST(DraftDistribution, TwoHundredHotAnswersSatisfyTheirSchema) {
  const std::string demo = (testing::golden_model("unified-a") / "../../../../models/demo").string();
  const auto engine = open(demo, 8, {});
  ASSERT_NE(engine, nullptr);
  const Json schema = *parse_json(
      R"({"type": "object", "required": ["name", "age", "tags"], "additionalProperties": false, "properties": {
          "name": {"type": "string", "minLength": 1, "maxLength": 16}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
          "tags": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"enum": ["red", "green", "blue"]}}}})",
      "schema");
  ReplyConstraintOptions options;
  options.answer = compile_json_schema(schema, {}).value();
  options.tools = ToolUse::kNone;
  options.thinking_tokens_max = 0;
  std::vector<std::string> texts(200);
  int32_t ended = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    GenerationRequest r = request({}, 300, i);
    r.ignore_eos = false;
    r.sampling.temperature = 1.5f;
    r.constraints = {*make_reply_grammar(options, *engine)};
    ASSERT_TRUE(engine->submit(std::move(r), [&, i](const Event& event) {
      texts[i] += event.text;
      ended += event.finish == FinishReason::kStop ? 1 : 0;
    }));
  }
  while (engine->step()) {
  }
  EXPECT_EQ(ended, 200);
  for (const std::string& text : texts) {
    const Result<Json> answer = parse_json(text, "answer");
    ASSERT_TRUE(answer) << text;
    ASSERT_TRUE(answer->is_object() && answer->size() == 3) << text;
    const Json &name = (*answer)["name"], &age = (*answer)["age"], &tags = (*answer)["tags"];
    EXPECT_TRUE(name.is_string() && !name.get<std::string>().empty()) << text;
    EXPECT_TRUE(age.is_number_integer() && age >= 0 && age <= 120) << text;
    ASSERT_TRUE(tags.is_array() && !tags.empty() && tags.size() <= 3) << text;
    for (const Json& tag : tags) EXPECT_TRUE(tag == "red" || tag == "green" || tag == "blue") << text;
  }
  const DraftCounts drafts = engine->status().drafts;
  std::printf("%lld of %lld drafts accepted in %lld rounds with drafts\n", static_cast<long long>(drafts.accepted),
              static_cast<long long>(drafts.proposed), static_cast<long long>(drafts.rounds));
  EXPECT_GT(drafts.proposed, 0);
}

}  // namespace
}  // namespace lapidary
