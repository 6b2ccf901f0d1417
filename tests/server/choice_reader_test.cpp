#include "server/choice_reader.h"

#include <gtest/gtest.h>

#include <set>

#include "base/json.h"
#include "text/tokenizer_support.h"

namespace lapidary::server {
namespace {

using Kind = AnswerDelta::Kind;

struct Told {
  std::vector<AnswerDelta> deltas;
  ChoiceResult result;

  std::string joined(Kind kind) const {
    std::string text;
    for (const AnswerDelta& delta : deltas) text += delta.kind == kind ? delta.text : "";
    return text;
  }
};

// The reply's tokens in events of `group` each, then the end.
Told read(std::string_view marked_text, const ChoiceOptions& options = {}, size_t group = 1,
          FinishReason finish = FinishReason::kStop, bool with_logprobs = false) {
  const Tokenizer& tokenizer = golden_tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode(marked_text, SpecialTokens::kRecognise);
  ChoiceReader reader(tokenizer, options, 0);
  Told told;
  for (size_t i = 0; i < ids.size(); i += group) {
    Event event;
    for (size_t j = i; j < std::min(i + group, ids.size()); ++j) {
      event.tokens.push_back(ids[j]);
      if (with_logprobs) event.logprobs.push_back({ids[j], -0.5, {}});
    }
    reader.take(event, told.deltas);
  }
  Event last;
  last.finish = finish;
  reader.take(last, told.deltas);
  EXPECT_TRUE(reader.finished());
  told.result = reader.result();
  return told;
}

TEST(ChoiceReader, SeparatesThoughtTextAndCalls) {
  for (const size_t group : {1, 2, 20}) {
    const Told told = read(
        "<|channel>thought\nHm.\n<channel|>Let me see.<|tool_call>call:f{a:<|\"|>x\"y<|\"|>,b:1}<tool_call|>"
        "<|tool_call>call:g{}<tool_call|><|tool_response>",
        {}, group);
    EXPECT_EQ(told.result.thought, "Hm.");
    EXPECT_EQ(told.result.text, "Let me see.");
    ASSERT_EQ(told.result.calls.size(), 2u);
    EXPECT_EQ(told.result.calls[0].call.name, "f");
    EXPECT_EQ(told.joined(Kind::kCallArguments), R"({"a":"x\"y","b":1}{})");
    EXPECT_EQ(told.result.end, AnswerEnd::kStop);
    // Every call is begun once, before its arguments, and complete after them.
    std::vector<Kind> kinds;
    for (const AnswerDelta& delta : told.deltas) {
      if (delta.kind != Kind::kCallArguments && delta.kind != Kind::kText && delta.kind != Kind::kThought)
        kinds.push_back(delta.kind);
    }
    EXPECT_EQ(kinds, (std::vector<Kind>{Kind::kCallBegun, Kind::kCall, Kind::kCallBegun, Kind::kCall}));
    EXPECT_EQ(told.joined(Kind::kCallBegun), "fg");
  }
}

TEST(ChoiceReader, ACallThatIsCutIsNoText) {
  const std::string whole = "Wait.<|tool_call>call:f{a:<|\"|>xy<|\"|>,b:1}";
  const Tokenizer& tokenizer = golden_tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode(whole, SpecialTokens::kRecognise);
  for (size_t count = 1; count < ids.size(); ++count) {
    ChoiceReader reader(tokenizer, {}, 0);
    Told told;
    Event event;
    event.tokens.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
    event.finish = FinishReason::kLength;
    reader.take(event, told.deltas);
    EXPECT_TRUE(std::string("Wait.").starts_with(reader.result().text)) << reader.result().text;
  }
}

TEST(ChoiceReader, ACutCallIsTheSameWholeAndStreamed) {
  const Tokenizer& tokenizer = golden_tokenizer();
  const std::vector<int32_t> ids =
      tokenizer.encode("<|tool_call>call:f{a:<|\"|>some words<|\"|>,b:12}<tool_call|>", SpecialTokens::kRecognise);
  for (size_t length = 1; length <= ids.size(); ++length) {
    ChoiceReader reader(tokenizer, {}, 0);
    Told told;
    for (size_t i = 0; i < length; ++i) {
      Event event;
      event.tokens = {ids[i]};
      reader.take(event, told.deltas);
    }
    Event last;
    last.finish = FinishReason::kLength;
    reader.take(last, told.deltas);
    std::string whole;
    for (const CallResult& call : reader.result().calls) whole += call.arguments;
    EXPECT_EQ(told.joined(Kind::kCallArguments), whole) << length;
    EXPECT_EQ(reader.result().end, AnswerEnd::kLength);
    // As the model left it, mended by nobody; and complete only where the model closed it.
    EXPECT_TRUE(std::string(R"({"a":"some words","b":12})").starts_with(whole)) << whole;
    const bool closed = length == ids.size();
    EXPECT_EQ(reader.result().calls_tools(), closed) << length;
    const auto is_call = [](const AnswerDelta& delta) { return delta.kind == Kind::kCall; };
    EXPECT_EQ(std::any_of(told.deltas.begin(), told.deltas.end(), is_call), closed) << length;
  }
}

TEST(ChoiceReader, GoesOnBehindTheModelsEndWhenAsked) {
  ChoiceOptions options;
  EXPECT_EQ(read("one <turn|><|turn>model\ntwo<eos>three", options, 1, FinishReason::kLength).result.text, "one ");
  options.goes_on = true;
  const Told told =
      read("<|channel>thought\nHm.<turn|>one <turn|><|turn>model\ntwo<eos>three", options, 1, FinishReason::kLength);
  EXPECT_EQ(told.result.thought, "Hm.");
  EXPECT_EQ(told.result.text, "one model\ntwothree");
  EXPECT_EQ(told.joined(Kind::kText), told.result.text);
  EXPECT_EQ(told.result.end, AnswerEnd::kLength);
}

TEST(ChoiceReader, StopStringsEndTextOnly) {
  ChoiceOptions options;
  options.stop = {"STOP"};
  const Told text = read("before STOP after<turn|>", options);
  EXPECT_EQ(text.result.text, "before ");
  EXPECT_EQ(text.joined(Kind::kText), "before ");
  EXPECT_EQ(text.result.end, AnswerEnd::kStopString);
  EXPECT_EQ(text.result.stop_string, "STOP");
  const Told thought = read("<|channel>thought\nSTOP<channel|>fine<turn|>", options);
  EXPECT_EQ(thought.result.thought, "STOP");
  EXPECT_EQ(thought.result.text, "fine");
  const Told call = read("<|tool_call>call:f{a:<|\"|>STOP<|\"|>}<tool_call|>", options);
  EXPECT_EQ(call.result.calls.size(), 1u);
  EXPECT_EQ(call.result.end, AnswerEnd::kStop);
  options.include_stop = true;
  EXPECT_EQ(read("before STOP after<turn|>", options).result.text, "before STOP");
  // Text that only began like one is not lost.
  EXPECT_EQ(read("before STO<turn|>", options).result.text, "before STO");
}

TEST(ChoiceReader, ThoughtsThatNobodyAskedForAreCountedAndDropped) {
  ChoiceOptions options;
  options.show_thought = false;
  const Told told = read("<|channel>thought\nHm.<channel|>Hi<turn|>", options);
  EXPECT_EQ(told.result.thought, "");
  EXPECT_EQ(told.result.text, "Hi");
  EXPECT_GT(told.result.thought_tokens, 0);
  EXPECT_EQ(told.joined(Kind::kThought), "");
}

TEST(ChoiceReader, AnOpenThoughtIsReasoning) {
  ChoiceOptions options;
  options.thought_open = true;
  const Told told = read("still thinking", options, 1, FinishReason::kLength);
  EXPECT_EQ(told.result.thought, "still thinking");
  EXPECT_EQ(told.result.text, "");
  EXPECT_EQ(told.result.end, AnswerEnd::kLength);
  EXPECT_EQ(told.result.thought_tokens, static_cast<int32_t>(told.result.tokens.size()));
}

TEST(ChoiceReader, RawShowsMarkers) {
  ChoiceOptions options;
  options.raw = true;
  EXPECT_EQ(read("<|channel>thought\nHm.<channel|>Hi", options, 1, FinishReason::kLength).result.text,
            "<|channel>thought\nHm.<channel|>Hi");
}

TEST(ChoiceReader, LogprobsMakeUpTheText) {
  const Tokenizer& tokenizer = golden_tokenizer();
  for (const char* reply : {"<|channel>thought\nHm.<channel|>\n\nHello there, caf\xC3\xA9 \xF0\x9F\x8E\x89!<turn|>",
                            "Hi <turn|>", "a  b\n\n c<turn|>"}) {
    const Told told = read(reply, {}, 1, FinishReason::kStop, true);
    std::string bytes;
    for (const TokenLogprob& entry : told.result.logprobs) bytes += tokenizer.bytes_of(entry.token);
    EXPECT_EQ(bytes, told.result.text) << reply;
    size_t streamed = 0;
    for (const AnswerDelta& delta : told.deltas) streamed += delta.logprobs.size();
    EXPECT_EQ(streamed, told.result.logprobs.size());
  }
}

TEST(ChoiceReader, TheLastTokenDoesNotCount) {
  const Told told = read("Hello<turn|>");
  const size_t hello = golden_tokenizer().encode("Hello", SpecialTokens::kAsText).size();
  EXPECT_EQ(told.result.usage.completion_tokens, static_cast<int32_t>(hello));
}

TEST(RandomId, IsLongAndNeverTheSame) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(random_id("call_"));
  EXPECT_EQ(ids.size(), 1000u);
  for (const std::string& id : ids) EXPECT_EQ(id.size(), 29u);
}

}  // namespace
}  // namespace lapidary::server
