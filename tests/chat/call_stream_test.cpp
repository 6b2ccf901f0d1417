// Calls read while they are written, compared with parse_tool_call reading them whole.
#include "chat/call_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/utf8.h"
#include "chat/reply_reader.h"
#include "chat/tool_arguments.h"
#include "text/tokenizer_support.h"

namespace lapidary {
namespace {

using ::testing::ElementsAre;

// <|"|> written as Q.
std::string marked(std::string text) {
  for (char& c : text) c = c == 'Q' ? kStringDelimiter : c;
  return text;
}

// What each piece makes certain, and at the end the rest; "error" when the call cannot be read.
std::vector<std::string> fragments(const std::vector<std::string>& pieces) {
  std::vector<std::string> out;
  std::string text;
  CallStream stream;
  for (const std::string& piece : pieces) {
    text += marked(piece);
    out.push_back(stream.advance(text));
  }
  std::string rest;
  const Result<Json> arguments = stream.finish(text, rest);
  out.push_back(arguments ? rest : "error");
  return out;
}

TEST(CallStream, StringsComeAsTheyAreWritten) {
  EXPECT_THAT(fragments({"call:f{", "city", ":", "Q", "Bern", " am ", "Rhein\n", "Q", "}"}),
              ElementsAre("", "", "{\"city\":", "\"", "Bern", " am", " Rhein", "\\n\"", "", "}"));
  EXPECT_THAT(fragments({"call:f{a:Q", "x} ]", "y\"\\", "\xe2\x80\xa8", "Q,b:[Q", "z", "Q]}"}),
              ElementsAre("{\"a\":\"", "x", "} ]y\\\"\\\\", "\\u2028", "\",\"b\":[\"", "z", "\"]", "}"));
}

TEST(CallStream, WhatMayStillChangeWaits) {
  // Numbers and words go on; keys and quoted strings are known at their ends.
  EXPECT_THAT(fragments({"call:f{n", ":1", "2", ",", "t:tr", "ue", "}"}),
              ElementsAre("", "{\"n\":", "", "12", ",\"t\":", "", "true", "}"));
  EXPECT_THAT(fragments({"call:f{a:\"x", "y\"", " ", ",b:'it", "'s", "'", "}"}),
              ElementsAre("{\"a\":", "", "", "\"xy\",\"b\":", "", "", "\"it's\"", "}"));
  EXPECT_THAT(fragments({"call:f{a:\"x\" and", " more", "}"}),
              ElementsAre("{\"a\":", "", "\"\\\"x\\\" and more\"", "}"));
  EXPECT_THAT(fragments({"call:f{Qa", " bQ", " ", ":", "1}"}), ElementsAre("", "", "", "{\"a b\":", "1", "}"));
  // Brackets at the end of an open string may be the call's own.
  EXPECT_THAT(fragments({"call:f{a:[Qx", "]", "}"}), ElementsAre("{\"a\":[\"x", "", "", "\"]}"));
  EXPECT_THAT(fragments({"call:f{a:Qx", "}"}), ElementsAre("{\"a\":\"x", "", "\"}"));
}

TEST(CallStream, OfTwoEqualKeysTheFirstIsPassedOn) {
  EXPECT_THAT(fragments({"call:f{a:1,", "a:{b:[Qx", "Q],b:2},", "c:3}"}),
              ElementsAre("{\"a\":1", "", "", ",\"c\":3", "}"));
}

TEST(CallStream, ACallThatCannotBeReadIsAnError) {
  EXPECT_THAT(fragments({"call:f{a:1}", "b"}), ElementsAre("{\"a\":1", "", "error"));
  EXPECT_THAT(fragments({"call:f{a", "}"}), ElementsAre("", "", "error"));
  EXPECT_THAT(fragments({"call:f{a:x", "Q", "yQ}"}), ElementsAre("{\"a\":", "", "", "error"));
}

using Draw = std::function<size_t(size_t)>;

// Well-formed arguments as models write them, as a list of small pieces.
void write_value(const Draw& draw, int depth, std::vector<std::string>& out) {
  constexpr const char* kWords[] = {"x", "two words", "\n",           "é",    "🙂", "\\", "\"", "}", "]",
                                    " ", "it's",      "\xe2\x80\xa8", "\x01", ":",    ","};
  const auto text = [&](const char* quote) {
    out.emplace_back(quote);
    for (size_t i = draw(5); i > 0; --i) out.emplace_back(kWords[draw(std::size(kWords))]);
    out.emplace_back(quote);
  };
  constexpr const char* kBare[] = {"1",    "-0.5", "1e308", "12345678901234567890123", "true", "false", "null", "none",
                                   "word", "007",  ""};
  switch (draw(depth > 0 ? 7 : 4)) {
    case 0:
      return out.emplace_back(kBare[draw(std::size(kBare))]), void();
    case 1:
    case 2:
      return text("Q");
    case 3:
      return text(draw(2) != 0 ? "\"" : "'");
    case 4: {
      out.emplace_back("[");
      for (size_t i = draw(4); i > 0; --i) {
        write_value(draw, depth - 1, out);
        if (i > 1 || draw(4) == 0) out.emplace_back(draw(4) != 0 ? "," : " , ");
      }
      return out.emplace_back("]"), void();
    }
    default: {
      constexpr const char* kKeys[] = {"a", "b", "c d", "é", "Qa bQ", "\"a\"", "'b'", " a ", "QQ", ""};
      out.emplace_back("{");
      for (size_t i = draw(5); i > 0; --i) {
        out.emplace_back(kKeys[draw(std::size(kKeys))]);
        out.emplace_back(draw(4) != 0 ? ":" : " : ");
        write_value(draw, depth - 1, out);
        if (i > 1) out.emplace_back(",");
      }
      out.emplace_back("}");
    }
  }
}

std::vector<std::string> random_call(uint64_t seed) {
  uint64_t counter = 0;
  const Draw draw = [&](size_t below) { return static_cast<size_t>(hash_counter(seed, counter++, 0) % below); };
  constexpr const char* kNoise[] = {"{", "}", "[", "]", "Q", "\"", "'", ":", ",", " ", "\\", "a", "1", "}}", "\xff"};
  std::vector<std::string> pieces;
  if (seed % 4 == 3) {  // nothing but noise
    pieces.emplace_back("{");
    for (size_t i = draw(25); i > 0; --i) pieces.emplace_back(kNoise[draw(std::size(kNoise))]);
  } else {
    do {
      pieces.clear();
      write_value(draw, 4, pieces);
    } while (pieces.front() != "{");
    for (size_t i = seed % 4; i > 0; --i) {  // damaged once or twice, or not
      const auto at = pieces.begin() + static_cast<std::ptrdiff_t>(draw(pieces.size()));
      switch (draw(3)) {
        case 0:
          pieces.erase(at);
          break;
        case 1:
          *at = kNoise[draw(std::size(kNoise))];
          break;
        default:
          pieces.insert(at, kNoise[draw(std::size(kNoise))]);
      }
      if (pieces.empty()) pieces.emplace_back("{");
    }
  }
  pieces.insert(pieces.begin(), "call:f");
  return pieces;
}

// However the text is cut, and wherever it ends: what was passed on is a beginning of the arguments' JSON text, all of
// it is that text, and both are what parse_tool_call reads.
TEST(CallStream, AgreesWithTheReaderOfWholeCalls) {
  int read = 0, refused = 0;
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    std::vector<std::string> pieces = random_call(seed);
    if (pieces.size() > 60) pieces.resize(60);
    if (pieces[1] != "{") pieces.insert(pieces.begin() + 1, "{");  // the name is whole
    std::string text;
    std::string certain;  // of a stream that has seen the pieces so far
    std::string so_far;
    CallStream following;
    for (const std::string& piece : pieces) {
      text += marked(piece);
      if (text.find('{') == std::string::npos) continue;
      certain += following.advance(text);
      ASSERT_TRUE(utf8_valid(certain)) << seed;
      // The call might end here. Its pieces are passed on one by one once more, to a stream of its own.
      CallStream ending;
      std::string json;
      so_far.clear();
      for (const std::string& earlier : pieces) {
        so_far += marked(earlier);
        if (so_far.find('{') == std::string::npos) continue;
        json += ending.advance(so_far);
        if (so_far.size() >= text.size()) break;
      }
      ASSERT_EQ(json, certain) << seed << ": " << text;
      const Result<Json> arguments = ending.finish(text, json);
      const Result<ToolCall> whole = parse_tool_call(text);
      ASSERT_EQ(arguments.has_value(), whole.has_value()) << seed << ": " << text;
      if (!arguments) {
        ++refused;
        continue;
      }
      ++read;
      ASSERT_EQ(json, dump_wire_json(*arguments)) << seed << ": " << text;
      ASSERT_EQ(json, dump_wire_json(whole->arguments)) << seed << ": " << text;
    }
  }
  EXPECT_GT(read, 40'000);
  EXPECT_GT(refused, 1'000);
}

// Bytes that are no UTF-8 are cut anywhere, too.
TEST(CallStream, EveryCutOfEveryByteGivesTheSameText) {
  const std::string text = marked(
      "call:f{a:Q\xc3\xa9\xf0\x9f\x99\x82\xe2\x82x\xf0\x9f \xc2\x85} "
      "]Q,\xe2\x82\xac:'\xc3\xa9',b:[1,{c:\"\xf0\x9f\x99\x82\\n\"}]}");
  const std::string expected = dump_wire_json(parse_tool_call(text)->arguments);
  for (size_t cut = text.find('{') + 1; cut <= text.size(); ++cut) {
    for (size_t second = cut; second <= text.size(); second += 3) {
      CallStream stream;
      std::string json = stream.advance(std::string_view(text).substr(0, cut));
      json += stream.advance(std::string_view(text).substr(0, second));
      ASSERT_TRUE(stream.finish(text, json));
      ASSERT_EQ(json, expected) << cut << ' ' << second;
    }
  }
}

// Text that never ends a value is not read again and again.
TEST(CallStream, LinearInWhatIsOpen) {
  for (const char* open : {"'", "\"", "x", "Q", "{k", "[[1,"}) {
    std::string text = marked(std::string("call:f{a:") + open);
    CallStream stream;
    for (int i = 0; i < 200'000; ++i) stream.advance(text += 'y');
    std::string rest;
    const auto arguments = stream.finish(text, rest);
    EXPECT_EQ(arguments.has_value(), open[0] != '{') << open;
  }
}

TEST(CallStream, TheReplyReaderPassesThePiecesOn) {
  ReplyReader reader(golden_tokenizer(), false);
  std::string json;
  std::vector<ReplyEvent::Kind> order;
  const auto take = [&](const std::vector<ReplyEvent>& events) {
    for (const ReplyEvent& event : events) {
      if (order.empty() || order.back() != event.kind) order.push_back(event.kind);
      if (event.kind == ReplyEvent::Kind::kCallArguments) {
        EXPECT_FALSE(event.text.empty());
        json += event.text;
      }
      if (event.kind == ReplyEvent::Kind::kCall) {
        EXPECT_EQ(json, dump_wire_json(event.call.arguments));
        json.clear();
      }
    }
  };
  using enum ReplyEvent::Kind;
  for (const int32_t id : golden_tokenizer().encode(
           "<|tool_call>call:f{a:<|\"|>b}\n<|\"|>,n:12}<tool_call|><|tool_call>call:g{}<tool_call|>"
           "<|tool_call>call:h{a:<|\"|>cut",
           SpecialTokens::kRecognise)) {
    take(reader.push(id));
  }
  take(reader.finish());
  EXPECT_THAT(order, ElementsAre(kCallBegun, kCallArguments, kCall, kCallBegun, kCallArguments, kCall, kCallBegun,
                                 kCallArguments, kCall));
}

}  // namespace
}  // namespace lapidary
