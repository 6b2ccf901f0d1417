// Grammars of replies in the engine: models with random weights say what their grammar allows, end where it does, and
// say the same with drafts. What a grammar means is tested in tests/grammar and tests/e2e.
#include "engine/reply_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/json.h"
#include "chat/reply_reader.h"
#include "engine/engine_runner.h"
#include "grammar/compile.h"
#include "grammar/matcher.h"

namespace lapidary {
namespace {

using testing::Answer;

constexpr const char* kPerson =
    R"({"type": "object", "required": ["name", "age", "tags"], "additionalProperties": false,
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
                   "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3}}})";

GrammarPtr schema(std::string_view text) {
  const Result<Json> json = parse_json(text, "schema");
  CHECK(json);
  return compile_json_schema(*json, {}).value();
}

GrammarPtr calls(bool parallel = true) {
  const Json tools = *parse_json(
      R"([{"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}},
          {"name": "g"}])",
      "tools");
  ToolCallOptions options;
  options.after_marker = true;
  options.parallel = parallel;
  return compile_tool_calls(tools, options).value();
}

class ReplyGrammars : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> open(bool drafter = false, int32_t sequences = 1) {
    EngineOptions options;
    options.context = 600;
    options.ops.threads = 1;
    options.sequences_max = sequences;
    if (drafter) options.draft_path = (testing::golden_model("unified-a") / "drafter").string();
    return testing::open_engine("unified-a", options);
  }

  GenerationRequest request(float temperature, uint64_t seed) {
    GenerationRequest r;
    r.prompt = {2, 300, 301, 302};
    r.tokens_max = 400;
    r.sampling = {.temperature = temperature, .top_p = 1.0f, .top_k = 0, .seed = seed};
    return r;
  }

  Answer run(Engine& engine, GenerationRequest r, const ReplyConstraintOptions& options) {
    Result<std::shared_ptr<TokenConstraint>> made = make_reply_grammar(options, engine);
    EXPECT_TRUE(made) << (made ? "" : made.error().message);
    r.constraints = {*made};
    return testing::run(engine, std::move(r));
  }

  // Whether text is a whole answer.
  bool satisfies(Engine& engine, const GrammarPtr& grammar, const std::string& text) {
    GrammarMatcher matcher(grammar, engine.mask_library());
    return matcher.advance_text(text) && matcher.can_end();
  }

  int32_t token(Engine& engine, const char* piece) { return *engine.tokenizer().id_of(piece); }
};

TEST_F(ReplyGrammars, AnswersSatisfyThem) {
  const auto engine = open();
  const GrammarPtr person = schema(kPerson), pattern = compile_regex("[a-f]{3,5}(, [0-9]{2})*").value();
  for (const GrammarPtr& grammar : {person, pattern}) {
    for (const float temperature : {0.0f, 1.5f}) {
      for (uint64_t seed = 0; seed < 10; ++seed) {
        for (const bool chat : {false, true}) {
          ReplyConstraintOptions options;
          options.answer = grammar;
          options.chat = chat;
          options.tools = ToolUse::kNone;
          options.thinking_tokens_max = seed % 2 == 0 ? 0 : 5;
          const Answer answer = run(*engine, request(temperature, seed), options);
          const Reply reply = read_reply(engine->tokenizer(), answer.tokens, false);
          const std::string where = reply.text + ", seed " + std::to_string(seed);
          if (answer.last.finish == FinishReason::kLength) continue;  // a pattern without an end, said greedily
          EXPECT_EQ(answer.last.finish, FinishReason::kStop) << where;
          EXPECT_TRUE(satisfies(*engine, grammar, chat ? reply.text : answer.text)) << where;
          if (!chat || seed % 2 == 0) {
            EXPECT_EQ(reply.thought, "") << where;
          }
        }
      }
    }
  }
}

TEST_F(ReplyGrammars, EndWhereNothingElseMayComeWhateverIsAskedFor) {
  const auto engine = open();
  ReplyConstraintOptions options;
  options.answer = schema(R"({"enum": ["one", "two"]})");
  options.thinking_tokens_max = 0;
  options.tools = ToolUse::kNone;
  const std::vector<int32_t>& ends = engine->model().generation_defaults().stop_ids;
  const auto ends_as_it_must = [&](const GenerationRequest& r) {
    const Answer answer = run(*engine, r, options);
    EXPECT_EQ(answer.last.finish, FinishReason::kStop);
    EXPECT_TRUE(answer.text == "\"one\"" || answer.text == "\"two\"") << answer.text;
    EXPECT_NE(std::find(ends.begin(), ends.end(), answer.tokens.back()), ends.end());
  };
  GenerationRequest r = request(1, 1);
  ends_as_it_must(r);
  r.ignore_eos = true;
  ends_as_it_must(r);
  r.tokens_min = 100;
  ends_as_it_must(r);
  for (const int32_t end : ends) r.sampling.logit_bias.emplace_back(end, -100.0f);
  ends_as_it_must(r);
  r.sampling.logit_bias.emplace_back(token(*engine, "\""), -100.0f);
  ends_as_it_must(r);
}

TEST_F(ReplyGrammars, EndLateWhenTheyMay) {
  const auto engine = open();
  ReplyConstraintOptions options;
  options.answer = compile_regex("[a-z ]*").value();
  options.chat = false;
  GenerationRequest r = request(4, 1);
  r.tokens_max = 60;
  int32_t ended = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    r.sampling.seed = seed;
    r.ignore_eos = false, r.tokens_min = 0;
    ended += run(*engine, r, options).last.finish == FinishReason::kStop ? 1 : 0;
    r.tokens_min = 30;
    EXPECT_GT(run(*engine, r, options).tokens.size(), 30u);
    r.ignore_eos = true;
    EXPECT_EQ(run(*engine, r, options).last.finish, FinishReason::kLength);
  }
  EXPECT_GT(ended, 3);
}

TEST_F(ReplyGrammars, ToolsAreForbiddenAllowedRequiredAndOneAtATime) {
  const auto engine = open();
  const int32_t begin = token(*engine, "<|tool_call>");
  ReplyConstraintOptions options;
  int32_t parallel = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const GenerationRequest r = request(3, seed);
    options.calls = calls();
    options.tools = ToolUse::kNone;
    EXPECT_THAT(run(*engine, r, options).tokens, ::testing::Not(::testing::Contains(begin)));
    options.tools = ToolUse::kRequired;
    for (const bool one : {false, true}) {
      options.calls = calls(!one);
      options.thinking_tokens_max = one ? 3 : 0;
      const Answer answer = run(*engine, r, options);
      const Reply reply = read_reply(engine->tokenizer(), answer.tokens, false);
      EXPECT_EQ(answer.last.finish, FinishReason::kStop);
      EXPECT_EQ(reply.text, "");
      ASSERT_GE(reply.tool_calls.size(), 1u);
      parallel += reply.tool_calls.size() > 1 ? 1 : 0;
      if (one) {
        EXPECT_EQ(reply.tool_calls.size(), 1u);
      }
      for (const ToolCall& call : reply.tool_calls) {
        EXPECT_TRUE(call.name == "f" || call.name == "g") << call.name;
        EXPECT_EQ(call.arguments.size(), call.name == "f" ? 1u : 0u);
      }
    }
  }
  EXPECT_GT(parallel, 0);
}

// With a schema or tools, drafts of every kind, and neighbours, every token and log-probability is that of a run alone.
TEST_F(ReplyGrammars, DraftsAndNeighboursDoNotShow) {
  const auto plain = open(), drafting = open(true), many = open(true, 6);
  struct Case {
    GenerationRequest request;
    ReplyConstraintOptions options;
    Answer alone;
  };
  std::vector<Case> cases;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    Case c;
    c.request = request(seed % 3 == 0 ? 0.0f : seed % 3 == 1 ? 1.0f : 20.0f, seed);
    c.request.tokens_max = 120;
    c.request.logprobs = 3;
    c.request.ignore_eos = seed % 4 == 3;
    if (seed % 5 == 0) c.request.stop = {"\"ag", "re"};
    if (seed % 5 == 1) c.request.sampling.repetition_penalty = 1.4f;
    c.options.answer = schema(kPerson);
    c.options.calls = calls();
    c.options.tools = seed % 2 == 0 ? ToolUse::kAllowed : seed % 6 == 1 ? ToolUse::kRequired : ToolUse::kNone;
    c.options.thinking_tokens_max = seed % 4 == 0 ? 6 : 0;
    c.alone = run(*plain, c.request, c.options);
    ASSERT_FALSE(c.alone.tokens.empty());
    cases.push_back(std::move(c));
  }
  const auto expect_same = [](const Answer& got, const Answer& alone, size_t i) {
    ASSERT_EQ(got.tokens, alone.tokens) << "case " << i;
    EXPECT_EQ(got.text, alone.text) << "case " << i;
    EXPECT_EQ(got.last.finish, alone.last.finish) << "case " << i;
    EXPECT_EQ(got.last.stop_string, alone.last.stop_string) << "case " << i;
    ASSERT_EQ(got.logprobs.size(), alone.logprobs.size()) << "case " << i;
    for (size_t t = 0; t < got.logprobs.size(); ++t) {
      ASSERT_EQ(got.logprobs[t].logprob, alone.logprobs[t].logprob) << "case " << i << ", token " << t;
      ASSERT_EQ(got.logprobs[t].top, alone.logprobs[t].top) << "case " << i << ", token " << t;
    }
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    expect_same(run(*drafting, cases[i].request, cases[i].options), cases[i].alone, i);
  }
  std::vector<Answer> together(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    GenerationRequest r = cases[i].request;
    r.constraints = {*make_reply_grammar(cases[i].options, *many)};
    ASSERT_TRUE(many->submit(r, [&together, i](const Event& event) {
      Answer& answer = together[i];
      answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
      answer.logprobs.insert(answer.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
      answer.text += event.text;
      answer.last = event;
    }));
  }
  while (many->step()) {
  }
  for (size_t i = 0; i < cases.size(); ++i) expect_same(together[i], cases[i].alone, i);
}

TEST_F(ReplyGrammars, AreMadeByAnyThreadWhileTheEngineRuns) {
  const auto engine = open(true, 4);
  const GrammarPtr grammar = schema(kPerson);
  std::atomic<int32_t> finished = 0, satisfied = 0;
  std::vector<std::string> texts(24);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 8; ++i) {
        GenerationRequest r = request(1.5f, t * 8 + i);
        r.constraints = {*make_text_grammar(grammar, *engine)};
        std::string& text = texts[t * 8 + i];
        ASSERT_TRUE(engine->submit(std::move(r), [&](const Event& event) {
          text += event.text;
          if (event.finish == FinishReason::kNone) return;
          satisfied += event.finish == FinishReason::kStop ? 1 : 0;
          ++finished;
        }));
      }
    });
  }
  while (finished < 24) engine->step();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(satisfied, 24);
  for (const std::string& text : texts) EXPECT_TRUE(satisfies(*engine, grammar, text)) << text;
}

TEST_F(ReplyGrammars, LoopsAreBrokenOffWhenAskedFor) {
  const auto plain = open(), drafting = open(true);
  GenerationRequest r = request(0, 1);
  r.tokens_max = 590;
  ReplyConstraintOptions options;
  options.answer = compile_regex("a{600}").value();
  options.chat = false;
  r.sampling.logit_bias = {{token(*plain, "a"), 100.0f}};
  r.tokens_min = 590;
  EXPECT_EQ(run(*plain, r, options).last.finish, FinishReason::kLength);  // before that, nothing ends it
  r.break_repetition = true;
  EXPECT_EQ(run(*plain, r, options).last.finish, FinishReason::kLength);
  r.tokens_min = 0;
  std::vector<Answer> answers;
  for (Engine* engine : {plain.get(), drafting.get()}) {
    answers.push_back(run(*engine, r, options));
    EXPECT_EQ(answers.back().last.finish, FinishReason::kStop);
    EXPECT_TRUE(answers.back().last.repetition);
    EXPECT_THAT(answers.back().tokens, ::testing::SizeIs(::testing::Le(400u)));
  }
  EXPECT_EQ(answers[0].tokens, answers[1].tokens);
  r.ignore_eos = true;
  EXPECT_FALSE(run(*plain, r, options).last.repetition);
}

}  // namespace
}  // namespace lapidary
