// The matcher against the slow truth (every token's bytes read on their own) and what its users rely on. Schemas and
// patterns are tested against Python's jsonschema and re in tests/e2e/test_grammar.py.
#include "grammar/matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/rng.h"
#include "grammar/compile.h"
#include "grammar/repetition_guard.h"
#include "grammar/reply_constraint.h"
#include "grammar/thinking_budget.h"

namespace lapidary {
namespace {

constexpr int32_t kEnd = 0, kCallBegin = 1, kCallEnd = 2, kQuote = 3, kThoughtBegin = 4, kThoughtEnd = 5;

// All bytes as tokens of their own, and pieces that cross every boundary of JSON and UTF-8.
std::shared_ptr<const TokenTrie> small_trie() {
  std::vector<std::string> texts(6);
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  const std::vector<std::string> parts{"\"", "{",  "}",    "[",  "]", ",", ":",     " ", "\n",
                                       "a",  "ab", "name", "12", "é", "€", "\\u00", "\\"};
  for (const std::string& x : parts) {
    if (x.size() > 1) texts.push_back(x);
    for (const std::string& y : parts) {
      texts.push_back(x + y);
      for (const std::string& z : parts) texts.push_back(x + y + z);
    }
  }
  texts.push_back("aaaaaaaaaaaaaaaaaaaa");
  texts.push_back("\",\"name\":[{\"a");
  return std::make_shared<TokenTrie>(std::move(texts),
                                     std::vector<std::pair<std::string, int32_t>>{{"<|tool_call>", kCallBegin},
                                                                                  {"<tool_call|>", kCallEnd},
                                                                                  {"<|\"|>", kQuote},
                                                                                  {"<|channel>", kThoughtBegin},
                                                                                  {"<channel|>", kThoughtEnd}},
                                     std::vector<int32_t>{kEnd});
}

std::shared_ptr<MaskLibrary> library() {
  static const auto made = std::make_shared<MaskLibrary>(small_trie());
  return made;
}

GrammarPtr schema(std::string_view text, bool compact = true) {
  const Result<Json> json = parse_json(text, "schema");
  CHECK(json);
  Result<GrammarPtr> grammar = compile_json_schema(*json, {.strict = true, .compact = compact});
  EXPECT_TRUE(grammar) << (grammar ? "" : grammar.error().message);
  return grammar.value();
}

int32_t token_of(std::string_view text) {
  const TokenTrie& trie = library()->trie();
  for (int32_t token = 0; token < trie.vocabulary(); ++token) {
    if (trie.text(token) == text) return token;
  }
  CHECK(false);
  return -1;
}

// Follows random allowed tokens and compares every mask with reading each token on its own.
void check_masks(const GrammarPtr& grammar, uint64_t seed) {
  GrammarMatcher matcher(grammar, library());
  const TokenTrie& trie = library()->trie();
  std::vector<uint64_t> mask(trie.mask_words());
  for (uint64_t step = 0; step < 40; ++step) {
    const int64_t allowed = matcher.mask(mask);
    std::vector<int32_t> set;
    for (int32_t token = 0; token < trie.vocabulary(); ++token) {
      ASSERT_EQ(test_bit(mask, token), matcher.allows(token)) << "step " << step << " token " << trie.text(token);
      if (test_bit(mask, token)) set.push_back(token);
    }
    ASSERT_EQ(allowed, static_cast<int64_t>(set.size()));
    ASSERT_FALSE(set.empty()) << "a dead end";
    const int32_t token = set[hash_counter(seed, step, 0) % set.size()];
    ASSERT_TRUE(matcher.advance(token));
    if (matcher.ended()) return;
  }
}

TEST(Matcher, MasksEqualReadingEveryToken) {
  const char* schemas[] = {
      R"({})",
      R"({"type": "string", "maxLength": 5})",
      R"({"type": "string", "minLength": 3, "maxLength": 30})",
      R"({"type": "string", "pattern": "^[a-b]{2,9}$"})",
      R"({"type": "string", "pattern": "^(a|name)+$", "maxLength": 12})",
      R"({"type": "object", "properties": {"name": {"type": "array", "items": {"type": "string", "maxLength": 2}, "maxItems": 3},
          "a": {"type": "integer", "minimum": -3, "maximum": 120}}, "required": ["name"]})",
      R"({"anyOf": [{"type": "object", "properties": {"a": {"$ref": "#"}}, "additionalProperties": false},
          {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}}}, {"type": "null"}]})",
      R"({"enum": ["a", "ab", "é€", 12, [1, {"a": "b"}]]})",
      R"({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "items": {"type": "boolean"}, "minItems": 1,
          "maxItems": 4})"};
  uint64_t seed = 0;
  for (const char* text : schemas) {
    for (const bool compact : {true, false}) {
      for (int walk = 0; walk < 3; ++walk) {
        SCOPED_TRACE(std::string(text) + " seed " + std::to_string(seed));
        check_masks(schema(text, compact), ++seed);
      }
    }
  }
}

TEST(Matcher, LengthsAreExactWithLongTokens) {
  const GrammarPtr grammar = schema(R"({"type": "string", "minLength": 3, "maxLength": 21})");
  GrammarMatcher matcher(grammar, library());
  ASSERT_TRUE(matcher.advance(token_of("\"")));
  ASSERT_TRUE(matcher.advance(token_of("€é")));
  EXPECT_FALSE(matcher.allows(token_of("\"")));                    // two of at least three
  EXPECT_FALSE(matcher.allows(token_of("aaaaaaaaaaaaaaaaaaaa")));  // 22 of at most 21
  EXPECT_TRUE(matcher.allows(token_of("a\"")));
  ASSERT_TRUE(matcher.advance(token_of("\\u00")));
  ASSERT_TRUE(matcher.advance_text("e9"));  // one escape is one character
  EXPECT_TRUE(matcher.allows(token_of("\"")));
  ASSERT_TRUE(matcher.advance_text("aaaaaaaaaaaaaaaaaa"));
  EXPECT_FALSE(matcher.allows(token_of("a")));
  ASSERT_TRUE(matcher.advance(token_of("\"")));
  EXPECT_TRUE(matcher.must_end());
  ASSERT_TRUE(matcher.advance(kEnd));
  EXPECT_TRUE(matcher.ended());
  EXPECT_FALSE(matcher.allows(kEnd));
}

TEST(Matcher, CopiesAndRollbackKeepTheirOwnPlace) {
  const GrammarPtr grammar = schema(R"({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}})");
  GrammarMatcher matcher(grammar, library());
  std::vector<uint64_t> before(library()->trie().mask_words()), after(before.size());
  ASSERT_TRUE(matcher.advance(token_of("[[")));
  matcher.mask(before);
  GrammarMatcher draft = matcher;
  ASSERT_TRUE(draft.advance(token_of("12")));
  ASSERT_TRUE(draft.advance(token_of("]]")));
  EXPECT_TRUE(draft.must_end());
  matcher.mask(after);
  EXPECT_EQ(before, after);
  ASSERT_TRUE(draft.rollback(2));
  draft.mask(after);
  EXPECT_EQ(before, after);
  EXPECT_FALSE(draft.rollback(2));  // only "[[" is left to take back
  EXPECT_TRUE(draft.rollback(1));
  EXPECT_TRUE(draft.allows(token_of("[")));
  EXPECT_FALSE(draft.advance(token_of("12")));
  EXPECT_TRUE(draft.allows(token_of("[")));  // a refused token changes nothing
}

TEST(Matcher, ForcedTextIsTheOnlyContinuation) {
  const GrammarPtr grammar = schema(
      R"({"type": "object", "properties": {"name": {"const": "a"}, "ab": {"type": "string"}}, "required": ["name", "ab"],
          "additionalProperties": false})");
  GrammarMatcher matcher(grammar, library());
  std::vector<ForcedPiece> forced = matcher.forced(100);
  ASSERT_EQ(forced.size(), 1u);
  EXPECT_EQ(forced[0].bytes, R"({"name":"a","ab":")");
  EXPECT_EQ(matcher.forced(5)[0].bytes, R"({"nam)");
  ASSERT_TRUE(matcher.advance_text(forced[0].bytes));
  EXPECT_TRUE(matcher.forced(100).empty());
  ASSERT_TRUE(matcher.advance_text("x\""));
  EXPECT_EQ(matcher.forced(100)[0].bytes, "}");
}

TEST(Matcher, ToolCallsUseTheirMarkers) {
  const Json tools =
      *parse_json(R"([{"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}},
                                  "required": ["a"]}}])",
                  "tools");
  const Result<GrammarPtr> grammar = compile_tool_calls(tools, {});
  ASSERT_TRUE(grammar);
  GrammarMatcher matcher(*grammar, library());
  std::vector<ForcedPiece> forced = matcher.forced(100);
  ASSERT_EQ(forced.size(), 3u);
  EXPECT_EQ(forced[0].token, kCallBegin);
  EXPECT_EQ(forced[1].bytes, "call:f{a:");
  EXPECT_EQ(forced[2].token, kQuote);
  ASSERT_TRUE(matcher.advance(kCallBegin));
  ASSERT_TRUE(matcher.advance_text("call:f{a:"));
  EXPECT_FALSE(matcher.allows(token_of("\"")));
  ASSERT_TRUE(matcher.advance(kQuote));
  EXPECT_TRUE(matcher.allows(token_of("\"")));
  EXPECT_FALSE(matcher.allows(kCallEnd));
  check_masks(*grammar, 99);
  ToolCallOptions lazy;
  lazy.after_marker = true;
  const Result<GrammarPtr> inside = compile_tool_calls(tools, lazy);
  ASSERT_TRUE(inside);
  EXPECT_EQ(GrammarMatcher(*inside, library()).forced(100)[0].bytes, "call:f{a:");
}

TEST(Matcher, NestingIsBoundedWithoutDeadEnds) {
  const GrammarPtr grammar = schema(R"({"type": "array", "items": {"$ref": "#"}})");
  GrammarMatcher matcher(grammar, library());
  for (int i = 0; i < kLimits.grammar_depth_max; ++i) ASSERT_TRUE(matcher.advance(token_of("["))) << i;
  EXPECT_FALSE(matcher.allows(token_of("[")));
  EXPECT_TRUE(matcher.allows(token_of("]]]")));
}

TEST(Matcher, EqualLeavesOfTwoGrammarsShareTheirMasks) {
  const GrammarPtr a = schema(R"({"type": "object", "properties": {"a": {"type": "string"}}})"),
                   b = schema(R"({"type": "string"})");
  std::vector<std::shared_ptr<LeafMasks>> strings;
  for (const GrammarPtr& grammar : {a, b}) {
    for (uint32_t rule = 0; rule < grammar->rules().size(); ++rule) {
      if (!grammar->rules()[rule].leaf) continue;
      const std::shared_ptr<LeafMasks> leaf = library()->leaf(*grammar, rule);
      if (leaf->automaton().matches("\"any \\u0041\"")) strings.push_back(leaf);
    }
  }
  ASSERT_EQ(strings.size(), 2u);
  EXPECT_EQ(strings[0], strings[1]);
}

GrammarPtr calls_of_f() {
  const Json tools = *parse_json(R"([{"name": "f"}])", "tools");
  ToolCallOptions options;
  options.after_marker = true;
  return compile_tool_calls(tools, options).value();
}

// The mask, or everything, must say the same as allows(), token by token.
void check_constraint(ReplyConstraint& constraint) {
  std::vector<uint64_t> mask(library()->trie().mask_words());
  const bool masked = constraint.mask(mask);
  for (int32_t token = 0; token < library()->trie().vocabulary(); ++token) {
    ASSERT_EQ(!masked || test_bit(mask, token), constraint.allows(token)) << token;
  }
}

TEST(ReplyConstraint, GrammarBeginsBehindTheThought) {
  ReplyConstraintOptions options;
  options.answer = schema(R"({"const": 12})");
  options.tools = ToolUse::kNone;
  options.thinking_tokens_max = 2;
  ReplyConstraint constraint(options, library());
  EXPECT_FALSE(constraint.allows(kCallBegin));
  EXPECT_FALSE(constraint.allows(token_of("a")));
  for (const int32_t token : {kThoughtBegin, token_of("a"), token_of("{\n")}) {
    check_constraint(constraint);
    ASSERT_TRUE(constraint.advance(token));
  }
  EXPECT_FALSE(constraint.allows(token_of("a")));
  ASSERT_EQ(constraint.forced(10).size(), 1u);
  EXPECT_EQ(constraint.forced(10)[0].token, kThoughtEnd);
  for (const int32_t token : {kThoughtEnd, token_of("12"), kEnd}) {
    check_constraint(constraint);
    ASSERT_TRUE(constraint.advance(token));
    EXPECT_FALSE(constraint.allows(kThoughtBegin));  // one thought
  }
  EXPECT_TRUE(constraint.ended());
}

TEST(ReplyConstraint, CallsAreSuppressedAllowedOrRequired) {
  ReplyConstraintOptions options;
  options.calls = calls_of_f();
  for (const ToolUse use : {ToolUse::kNone, ToolUse::kAllowed, ToolUse::kRequired}) {
    options.tools = use;
    ReplyConstraint constraint(options, library());
    check_constraint(constraint);
    EXPECT_EQ(constraint.allows(kCallBegin), use != ToolUse::kNone);
    EXPECT_EQ(constraint.allows(token_of("a")), use != ToolUse::kRequired);
    if (use == ToolUse::kRequired) {
      EXPECT_FALSE(constraint.allows(kEnd));
    } else {
      ASSERT_TRUE(constraint.advance(token_of("a")));  // text before a call
      check_constraint(constraint);
    }
    if (use == ToolUse::kNone) continue;
    ASSERT_TRUE(constraint.advance(kCallBegin));
    check_constraint(constraint);
    EXPECT_EQ(constraint.forced(100)[0].bytes, "call:f{}");
    for (const char c : std::string("call:f{}")) ASSERT_TRUE(constraint.advance(token_of(std::string(1, c))));
    ASSERT_TRUE(constraint.advance(kCallEnd));
    EXPECT_FALSE(constraint.allows(token_of("a")));
    EXPECT_TRUE(constraint.allows(kCallBegin));  // parallel calls
    ASSERT_TRUE(constraint.advance(kEnd));
    EXPECT_TRUE(constraint.ended());
  }
}

TEST(ReplyConstraint, WhoOwesAnAnswerDoesNotEndInAThought) {
  ReplyConstraintOptions options;
  options.tools = ToolUse::kNone;
  for (const bool owes : {false, true}) {
    if (owes) options.answer = schema(R"({"const": 12})");
    ReplyConstraint constraint(options, library());
    ASSERT_TRUE(constraint.advance(kThoughtBegin));
    check_constraint(constraint);
    EXPECT_EQ(constraint.allows(kEnd), !owes);
    EXPECT_FALSE(constraint.allows(kCallBegin));  // not by way of a thought either
    EXPECT_TRUE(constraint.allows(token_of("a")));
  }
}

TEST(ReplyConstraint, ACallInsideAThoughtIsHeldToTheTools) {
  ReplyConstraintOptions options;
  options.calls = calls_of_f();
  options.thought_open = true;
  ReplyConstraint constraint(options, library());
  ASSERT_TRUE(constraint.advance(token_of("a")));
  check_constraint(constraint);
  ASSERT_TRUE(constraint.advance(kCallBegin));
  check_constraint(constraint);
  EXPECT_EQ(constraint.forced(100)[0].bytes, "call:f{}");
}

TEST(ReplyConstraint, WithoutThoughtsNoneIsBegun) {
  ReplyConstraintOptions options;
  options.thinking_tokens_max = 0;
  for (const bool answer : {false, true}) {
    if (answer) options.answer = schema(R"({"const": "abc"})");
    ReplyConstraint constraint(options, library());
    check_constraint(constraint);
    EXPECT_FALSE(constraint.allows(kThoughtBegin));
    EXPECT_TRUE(constraint.forced(100).empty());  // there may be a call
  }
  options.tools = ToolUse::kNone;
  EXPECT_EQ(ReplyConstraint(options, library()).forced(100)[0].bytes, "\"abc\"");
  options.tools = ToolUse::kRequired;
  options.calls = calls_of_f();
  ReplyConstraint required(options, library());
  const std::vector<ForcedPiece> pieces = required.forced(100);
  ASSERT_GE(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].token, kCallBegin);
  EXPECT_EQ(pieces[1].bytes, "call:f{}");
}

TEST(ReplyConstraint, TextHasNoThoughtsAndNoCalls) {
  ReplyConstraintOptions options;
  options.answer = schema(R"({"const": "abc"})");
  options.chat = false;
  options.tools = ToolUse::kRequired;  // of a chat: does not count
  options.thought_open = true;
  ReplyConstraint constraint(options, library());
  check_constraint(constraint);
  EXPECT_FALSE(constraint.allows(kThoughtBegin));
  EXPECT_FALSE(constraint.allows(kCallBegin));
  EXPECT_EQ(constraint.forced(100)[0].bytes, "\"abc\"");
  for (const char c : std::string("\"abc\"")) {
    EXPECT_FALSE(constraint.must_end());
    ASSERT_TRUE(constraint.advance(token_of(std::string(1, c))));
  }
  EXPECT_TRUE(constraint.must_end());
  ASSERT_TRUE(constraint.advance(kEnd));
  EXPECT_TRUE(constraint.ended());
}

TEST(ThinkingBudget, EndsTheThoughtAndNothingElse) {
  ThinkingBudget budget(100, 101, 3, false);
  for (const int32_t token : {7, 7, 7, 7, 100}) budget.push(token);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(budget.forced(), -1);
    budget.push(7);
  }
  EXPECT_EQ(budget.forced(), 101);
  budget.push(101);
  EXPECT_EQ(budget.forced(), -1);
  budget.push(100);  // a second thought finds the budget spent
  EXPECT_EQ(budget.forced(), 101);
  EXPECT_EQ(ThinkingBudget(100, 101, 0, true).forced(), 101);
  EXPECT_EQ(ThinkingBudget(100, 101, -1, true).forced(), -1);
}

TEST(RepetitionGuard, BreaksLoopsAndLeavesTablesAlone) {
  RepetitionGuard guard({.period_max = 8, .times = 4, .tokens = 20});
  int32_t at = 0;
  bool broken = false;
  for (int32_t i = 0; i < 15; ++i) broken = guard.push(1000 + i) || broken;
  for (int32_t i = 0; i < 19; ++i) broken = guard.push(i % 5) || broken;
  EXPECT_FALSE(broken);
  EXPECT_TRUE(guard.push(4));  // the twentieth token of a period of five, four times
  RepetitionGuard slow({.period_max = 8, .times = 4, .tokens = 20});
  for (int32_t i = 0; i < 300; ++i) broken = slow.push(i % 9) || broken;  // longer than it looks
  for (int32_t i = 0; i < 300; ++i)
    broken = slow.push(++at % 7 == 0 ? at : 1) || broken;  // rows that differ in one cell
  EXPECT_FALSE(broken);
}

}  // namespace
}  // namespace lapidary
