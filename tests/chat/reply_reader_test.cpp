#include "chat/reply_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "chat/prompt_writer.h"
#include "chat/tool_arguments.h"
#include "chat/tool_syntax.h"
#include "text/tokenizer_support.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

Ids ids(std::string_view marked_text) { return golden_tokenizer().encode(marked_text, SpecialTokens::kRecognise); }

Reply read(std::string_view marked_text, bool thought_open = false) {
  return read_reply(golden_tokenizer(), ids(marked_text), thought_open);
}

struct Case {
  const char* reply;
  const char* thought;
  const char* text;
  const char* calls;  // JSON: [[name, arguments], ...]
  bool thought_open = false;
};

std::string calls_text(const Reply& reply) {
  Json calls = Json::array();
  for (const ToolCall& call : reply.tool_calls) calls.push_back(Json::array({call.name, call.arguments}));
  return dump_json(calls);
}

TEST(ReplyReader, ReadsRepliesOfEveryKind) {
  const Case cases[] = {
      {"Hello there.<turn|>", "", "Hello there.", "[]"},
      {"Hello there.", "", "Hello there.", "[]"},
      {" leading and trailing \n<turn|>", "", " leading and trailing \n", "[]"},
      {"<|channel>thought\nHm.\nYes.\n<channel|>Hello<turn|>", "Hm.\nYes.", "Hello", "[]"},
      {"<|channel>thought\n<channel|>Hello<eos>", "", "Hello", "[]"},
      {"<|channel>thought<channel|>Hello", "", "Hello", "[]"},
      {"<|channel><channel|>Hello", "", "Hello", "[]"},
      {"<|channel>plan\nHm.<channel|>Hello", "plan\nHm.", "Hello", "[]"},
      {"<|channel>though<channel|>Hello", "though", "Hello", "[]"},
      {"<|channel>thought\ncut off", "cut off", "", "[]"},
      {"<|channel>thou", "thou", "", "[]"},
      {"still thinking\n<channel|>\n\nAnswer", "still thinking", "Answer", "[]", true},
      {"still thinking", "still thinking", "", "[]", true},
      {"a<|channel>thought\nb<channel|>c<|channel>thought\nd<channel|>e", "bd", "ace", "[]"},
      {"Let me see. \n<|tool_call>call:f{}<tool_call|><|tool_response>", "", "Let me see.", R"([["f",{}]])"},
      {"<|tool_call>call:f{a:1}<tool_call|>\n<|tool_call>call:g.h-i:j/k{b:<|\"|>x,}<|\"|>}<tool_call|>", "", "",
       R"([["f",{"a":1}],["g.h-i:j/k",{"b":"x,}"}]])"},
      {"<|channel>thought\nneed it<|tool_call>call:f{}<tool_call|>", "need it", "", R"([["f",{}]])"},
      {"<|tool_call>call:f{a:1}<tool_call|><tool_call|>\n <|tool_response>after<turn|>", "", "after",
       R"([["f",{"a":1}]])"},
      {"<|tool_call>call:f{a:1}<turn|>", "", "", R"([["f",{"a":1}]])"},
      {"<|tool_call>call:f{a:<|\"|>cut", "", "", R"([["f",{"a":"cut"}]])"},
      {"<|tool_call>call:f{a:1}<|tool_call>call:g{}<tool_call|>", "", "", R"([["f",{"a":1}],["g",{}]])"},
      {"<|tool_call>nonsense<|\"|><tool_call|> so", "", "<|tool_call>nonsense<|\"|><tool_call|>so", "[]"},
      {"<|tool_call>call:f{a}<tool_call|>", "", "<|tool_call>call:f{a}<tool_call|>", "[]"},
      {"<channel|>a<tool_call|>b", "", "ab", "[]"},
      {"a<turn|>b<|tool_call>call:f{}<tool_call|>", "", "a", "[]"},
      {"a<|tool_response>b", "", "a", "[]"},
      {"a<|turn>user\nb", "", "a", "[]"},
      {"quoted <|\"|>x<|\"|>", "", "quoted <|\"|>x<|\"|>", "[]"},
      {"a<pad><|image|><unk>b", "", "ab", "[]"},
      {"", "", "", "[]"},
  };
  for (const Case& c : cases) {
    const Reply reply = read(c.reply, c.thought_open);
    EXPECT_EQ(reply.thought, c.thought) << c.reply;
    EXPECT_EQ(reply.text, c.text) << c.reply;
    EXPECT_EQ(calls_text(reply), c.calls) << c.reply;
  }
}

TEST(ReplyReader, TextThatLooksLikeAMarkerIsText) {
  const std::string text = "<|channel>thought\n<|tool_call>call:f{}<tool_call|><turn|>";
  const Reply reply = read_reply(golden_tokenizer(), golden_tokenizer().encode(text, SpecialTokens::kAsText), false);
  EXPECT_EQ(reply.text, text);
  // In a call, too: only the token ends a string.
  Ids call = ids("<|tool_call>call:f{s:<|\"|>");
  const Ids inside = golden_tokenizer().encode("a<|\"|>}<tool_call|>", SpecialTokens::kAsText),
            end = ids("<|\"|>}<tool_call|>");
  call.insert(call.end(), inside.begin(), inside.end());
  call.insert(call.end(), end.begin(), end.end());
  EXPECT_EQ(calls_text(read_reply(golden_tokenizer(), call, false)), R"([["f",{"s":"a<|\"|>}<tool_call|>"}]])");
}

TEST(ReplyReader, AnnouncesACallWhenItsNameIsKnown) {
  ReplyReader reader(golden_tokenizer(), false);
  std::vector<ReplyEvent::Kind> kinds;
  for (const int32_t id : ids("<|tool_call>call:get_weather{city:<|\"|>Bern<|\"|>}<tool_call|>")) {
    for (const ReplyEvent& event : reader.push(id)) {
      kinds.push_back(event.kind);
      if (event.kind == ReplyEvent::Kind::kCallBegun) {
        EXPECT_EQ(event.text, "get_weather");
      }
    }
  }
  ASSERT_GE(kinds.size(), 3u);
  EXPECT_EQ(kinds.front(), ReplyEvent::Kind::kCallBegun);
  EXPECT_EQ(kinds.back(), ReplyEvent::Kind::kCall);
}

// Text that was reported stays: every prefix of a reply reads as a beginning of what the whole reads as.
TEST(ReplyReader, StreamsOnlyWhatIsCertain) {
  const Ids reply =
      ids("<|channel>thought\nFirst 🙂 \n\n then.\n<channel|>\n Answer, é  "
          "\n\n<|tool_call>call:f{a:[1,<|\"|>x<|\"|>]}<tool_call|>"
          "\n<|tool_call>broken<tool_call|> tail \n<turn|>");
  const Reply whole = read_reply(golden_tokenizer(), reply, false);
  EXPECT_EQ(whole.thought, "First 🙂 \n\n then.");
  ReplyReader reader(golden_tokenizer(), false);
  std::string thought, text;
  for (const int32_t id : reply) {
    for (const ReplyEvent& event : reader.push(id)) {
      if (event.kind == ReplyEvent::Kind::kThought) thought += event.text;
      if (event.kind == ReplyEvent::Kind::kText) text += event.text;
    }
    ASSERT_TRUE(whole.thought.starts_with(thought) && whole.text.starts_with(text)) << thought << '|' << text;
  }
  EXPECT_TRUE(reader.ended());
  EXPECT_TRUE(reader.finish().empty());
  EXPECT_EQ(text, whole.text);
}

TEST(ReplyReader, EveryPrefixEndsCleanly) {
  const Ids reply =
      ids("a\n<|channel>thought\nb\n<channel|>c\n<|tool_call>call:f{a:<|\"|>x<|\"|>}<tool_call|>d\n<turn|>");
  for (size_t length = 0; length <= reply.size(); ++length) {
    ReplyReader reader(golden_tokenizer(), false);
    for (size_t i = 0; i < length; ++i) reader.push(reply[i]);
    reader.finish();
    EXPECT_TRUE(reader.ended());
    EXPECT_TRUE(reader.push(reply[0]).empty());
    EXPECT_TRUE(reader.finish().empty());
  }
  // Cut inside the call: what was read of it counts.
  EXPECT_EQ(calls_text(read("a\n<|tool_call>call:f{a:<|\"|>x<|\"|>,b:[1")), R"([["f",{"a":"x","b":[1]}]])");
}

TEST(ReplyReader, AnyTokensGiveValidTextAndJson) {
  const Tokenizer& t = golden_tokenizer();
  const Ids structure = ids("<|channel><channel|><|tool_call><tool_call|><|\"|>thought\ncall:f{a:[}],<|tool_response>");
  for (uint64_t seed = 0; seed < 20000; ++seed) {
    uint64_t counter = 0;
    const auto draw = [&](size_t below) { return static_cast<size_t>(hash_counter(seed, counter++, 0) % below); };
    Ids tokens;
    for (size_t i = 0; i < 1 + seed % 40; ++i) {
      tokens.push_back(draw(4) != 0 ? structure[draw(structure.size())]
                                    : static_cast<int32_t>(draw(static_cast<size_t>(t.vocabulary_size()) + 9)) - 4);
    }
    const Reply reply = read_reply(t, tokens, seed % 2 != 0);
    ASSERT_TRUE(utf8_valid(reply.thought) && utf8_valid(reply.text)) << seed;
    for (const ToolCall& call : reply.tool_calls) {
      ASSERT_FALSE(call.name.empty()) << seed;
      ASSERT_TRUE(call.arguments.is_object()) << seed;
      ASSERT_TRUE(parse_json(dump_json(call.arguments), "arguments")) << seed;
      ASSERT_EQ(dump_json(call.arguments).find(kStringDelimiter), std::string::npos) << seed;
    }
  }
}

// <|"|> written as Q.
std::string arguments_of(std::string text) {
  for (char& c : text) c = c == 'Q' ? kStringDelimiter : c;
  const Result<ToolCall> call = parse_tool_call("call:f" + text);
  return call ? dump_json(call->arguments) : "error: " + call.error().message;
}

TEST(ToolArguments, ReadsTheSyntax) {
  EXPECT_EQ(arguments_of("{}"), "{}");
  EXPECT_EQ(arguments_of(R"({a:1,b:-2.5e3,c:true,d:false,e:null,f:QxQ,g:[1,[QyQ],{}],h:{i:{j:QQ}}})"),
            R"({"a":1,"b":-2500.0,"c":true,"d":false,"e":null,"f":"x","g":[1,["y"],{}],"h":{"i":{"j":""}}})");
  EXPECT_EQ(arguments_of("{z:1,a:2,key with space:3,Qquoted, keyQ:4}"),
            R"({"z":1,"a":2,"key with space":3,"quoted, key":4})");
  EXPECT_EQ(arguments_of("{s:Qx,y} \"q\" \\n [{}]:Q}"), R"({"s":"x,y} \"q\" \\n [{}]:"})");
  EXPECT_EQ(arguments_of("{big:10000000000000000000000,neg:-9223372036854775809,d:0.1}"),
            R"({"big":10000000000000000000000,"neg":-9223372036854775809,"d":0.1})");
  EXPECT_EQ(arguments_of(" { a : 1 ,\n b : Q x Q , } \n"), R"({"a":1,"b":" x "})");
}

TEST(ToolArguments, RepairsWhatHasOneReading) {
  EXPECT_EQ(arguments_of("{a:1"), R"({"a":1})");
  EXPECT_EQ(arguments_of("{a:[1,{b:2"), R"({"a":[1,{"b":2}]})");
  EXPECT_EQ(arguments_of("{a:[1,2}"), R"({"a":[1,2]})");
  EXPECT_EQ(arguments_of("{a:[{b:1],c:2}"), R"({"a":[{"b":1}],"c":2})");
  EXPECT_EQ(arguments_of("{a:Qhello}"), R"({"a":"hello"})");
  EXPECT_EQ(arguments_of("{a:[{b:Qhello}]}"), R"({"a":[{"b":"hello"}]})");
  EXPECT_EQ(arguments_of("{a:[Qx}]}"), R"({"a":["x}"]})");
  EXPECT_EQ(arguments_of("{a:none,b:nil,c:word and word,d:007,e:1.,f:+1,g:,h:1e999}"),
            R"({"a":null,"b":null,"c":"word and word","d":"007","e":"1.","f":"+1","g":"","h":"1e999"})");
  EXPECT_EQ(arguments_of(R"({"a":"x\n\"y\"","b":'it's',c:'z'})"), R"({"a":"x\n\"y\"","b":"it's","c":"z"})");
  EXPECT_EQ(arguments_of(R"({a:"unclosed,b:'open})"), R"({"a":"\"unclosed","b":"'open"})");
  EXPECT_EQ(arguments_of("{a:1,a:2}"), R"({"a":1})");
}

TEST(ToolArguments, RefusesTheRest) {
  for (const char* text : {"", "x", "{a}", "{a:1}b", "{a:1}{", "{Qa", "{QaQ}", "{aQb:1}", "{a:xQyQ}"}) {
    EXPECT_TRUE(arguments_of(text).starts_with("error: tool call")) << text << " -> " << arguments_of(text);
  }
  const std::string no_utf8 = std::string("call:\xff") + "a{}";
  for (const std::string& text : {std::string(), std::string("call:"), std::string("call:f"), std::string("f{}"),
                                  std::string("call:{}"), std::string("call: {}"), no_utf8}) {
    EXPECT_FALSE(parse_tool_call(text)) << text;
  }
  const int depth = kLimits.reply_call_depth_max;
  const std::string deep = "{a:" + std::string(static_cast<size_t>(depth) - 1, '[');
  EXPECT_FALSE(arguments_of(deep).starts_with("error"));
  EXPECT_THAT(arguments_of(deep + "["), ::testing::HasSubstr("at most 64 levels"));
}

TEST(ToolArguments, LinearInUnclosedQuotes) {
  std::string text = "{";
  for (int i = 0; i < 20000; ++i) text += (i % 2 != 0 ? "'x" : "k" + std::to_string(i % 50) + ":'");
  EXPECT_FALSE(arguments_of(text).empty());
}

// What the prompt writer writes, the reader reads back.
TEST(ToolArguments, ReadsWhatIsWritten) {
  const Result<Json> arguments = parse_json_exact(
      R"({"b":[1,"t",{"x y":null}],"flag":false,"big":-123456789012345678901234567890,"f":1.0,"s":"a \"b\", {c}: [d]\n","e":"","o":{}})",
      "x");
  ASSERT_TRUE(arguments);
  PromptItems items;
  write_tool_call({std::nullopt, "f", *arguments}, items);
  std::vector<EncodeItem> encoded;
  for (const PromptItem& item : items.items()) {
    const bool special = item.kind == PromptItem::Kind::kSpecial;
    encoded.push_back({special ? *golden_tokenizer().id_of(item.text) : -1, item.text});
  }
  const Reply reply = read_reply(golden_tokenizer(), golden_tokenizer().encode_runs(encoded), false);
  ASSERT_EQ(reply.tool_calls.size(), 1u);
  Json sorted = *parse_json_exact(
      R"({"b":[1,"t",{"x y":null}],"big":-123456789012345678901234567890,"e":"","f":1.0,"flag":false,"o":{},"s":"a \"b\", {c}: [d]\n"})",
      "x");
  EXPECT_EQ(dump_json(reply.tool_calls[0].arguments), dump_json(sorted));
}

}  // namespace
}  // namespace lapidary
