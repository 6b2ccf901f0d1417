#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>

#include "base/utf8.h"
#include "text/tokenizer_support.h"

namespace lapidary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

Tokenizer make(const Json& json) {
  Result<Tokenizer> made = Tokenizer::parse(dump_json(json), "test");
  CHECK(made);
  return std::move(made).value();
}

Json small() {
  return tokenizer_json({"a", "b", "▁", "\n", "ab", "▁a", "\n\n", "aba"},
                        {{"a", "b"}, {"▁", "a"}, {"\n", "\n"}, {"ab", "a"}}, {"<bos>", "<|turn>", "<|turn>x"});
}

TEST(Tokenizer, EncodesAsTheReference) {
  const Json golden = read_golden("tokenizer/encode.json");
  ASSERT_GT(golden.size(), 100u);
  for (const Json& row : golden) {
    const std::string text = row["text"];
    EXPECT_EQ(golden_tokenizer().encode(text, SpecialTokens::kRecognise), row["ids"].get<Ids>()) << text;
    EXPECT_EQ(golden_tokenizer().encode(text, SpecialTokens::kAsText), row["ids_as_text"].get<Ids>()) << text;
    EXPECT_EQ(golden_tokenizer().decode(row["ids"].get<Ids>()), row["decoded"].get<std::string>());
  }
}

TEST(Tokenizer, DecodesAsTheReference) {
  const Json golden = read_golden("tokenizer/decode.json");
  ASSERT_GT(golden.size(), 10u);
  for (const Json& row : golden) {
    EXPECT_EQ(golden_tokenizer().decode(row["ids"].get<Ids>()), row["decoded"].get<std::string>()) << row.dump();
  }
}

TEST(Tokenizer, EncodesRenderedPromptsAsTheReference) {
  const Json golden = read_golden("tokenizer/chat.json");
  ASSERT_GT(golden.size(), 50u);
  for (const Json& row : golden) {
    EXPECT_EQ(golden_tokenizer().encode(row["rendered"].get<std::string>(), SpecialTokens::kRecognise),
              row["ids"].get<Ids>())
        << row["name"];
  }
}

TEST(Tokenizer, MergesByRankAndLeftmostFirst) {
  const Tokenizer t = make(small());
  const auto id = [&](std::string_view piece) { return *t.id_of(piece); };
  EXPECT_THAT(t.encode("aba", SpecialTokens::kAsText), ElementsAre(id("aba")));
  EXPECT_THAT(t.encode("abab", SpecialTokens::kAsText),
              ElementsAre(id("ab"), id("ab")));  // (a, b) comes before (ab, a)
  EXPECT_THAT(t.encode(" a", SpecialTokens::kAsText), ElementsAre(id("▁a")));
  EXPECT_THAT(t.encode("a", SpecialTokens::kAsText), ElementsAre(id("a")));  // no space is added in front
  EXPECT_THAT(t.encode("\n\n\n", SpecialTokens::kAsText), ElementsAre(id("\n\n"), id("\n")));
  EXPECT_THAT(t.encode("", SpecialTokens::kAsText), ElementsAre());
}

TEST(Tokenizer, SpellsMissingCharactersInBytes) {
  const Tokenizer t = make(small());
  EXPECT_THAT(t.encode("aéb", SpecialTokens::kAsText), ElementsAre(*t.id_of("a"), 0xc3, 0xa9, *t.id_of("b")));
  EXPECT_THAT(t.encode("\U0001f600", SpecialTokens::kAsText), ElementsAre(0xf0, 0x9f, 0x98, 0x80));
  EXPECT_EQ(t.byte_of(0xc3), 0xc3);
  EXPECT_FALSE(t.byte_of(*t.id_of("a")));
  EXPECT_EQ(t.bytes_of(0xc3), "\xc3");
  EXPECT_EQ(t.bytes_of(*t.id_of("▁a")), " a");
  EXPECT_EQ(t.bytes_of(-1), "");
  EXPECT_EQ(t.bytes_of(1 << 30), "");
}

TEST(Tokenizer, RepairsInvalidUtf8First) {
  const Tokenizer t = make(small());
  EXPECT_EQ(t.encode("a\xff"
                     "b",
                     SpecialTokens::kAsText),
            t.encode("a\xef\xbf\xbd"
                     "b",
                     SpecialTokens::kAsText));
  EXPECT_EQ(t.encode_runs(std::vector<EncodeItem>{{-1, "a\xff"}}), t.encode("a\xef\xbf\xbd", SpecialTokens::kAsText));
}

TEST(Tokenizer, TakesTheLongestSpecialTokenOnlyWhenAsked) {
  const Tokenizer t = make(small());
  const auto id = [&](std::string_view piece) { return *t.id_of(piece); };
  EXPECT_THAT(t.encode("a<|turn>xb<|turn>", SpecialTokens::kRecognise),
              ElementsAre(id("a"), id("<|turn>x"), id("b"), id("<|turn>")));
  for (const int32_t token : t.encode("a<|turn>xb<bos>", SpecialTokens::kAsText)) EXPECT_FALSE(t.is_special(token));
  EXPECT_EQ(t.decode(t.encode("a<|turn>xb<bos>", SpecialTokens::kAsText)), "a<|turn>xb<bos>");
  EXPECT_TRUE(t.is_special(id("<bos>")));
  EXPECT_FALSE(t.is_special(id("a")));
  EXPECT_FALSE(t.is_special(-1));
  EXPECT_FALSE(t.is_special(t.vocabulary_size()));
}

TEST(Tokenizer, TextNeverMergesIntoAControlToken) {
  Json json = tokenizer_json({"<", "|", "x", ">", "<|", "x>"}, {{"<", "|"}, {"x", ">"}, {"<|", "x>"}}, {"<|x>"});
  json["added_tokens"][0]["special"] = false;  // its spelling alone marks it
  const Tokenizer t = make(json);
  EXPECT_TRUE(t.is_special(*t.id_of("<|x>")));
  EXPECT_THAT(t.encode("<|x>", SpecialTokens::kAsText), ElementsAre(*t.id_of("<|"), *t.id_of("x>")));
  EXPECT_THAT(t.encode("<|x>", SpecialTokens::kRecognise), ElementsAre(*t.id_of("<|x>")));
}

TEST(Tokenizer, OrdinaryAddedTokensAreFoundInAnyText) {
  Json json = small();
  json["added_tokens"].push_back(
      Json::object({{"id", 600}, {"content", "b a"}, {"special", false}, {"normalized", true}}));
  json["added_tokens"].push_back(
      Json::object({{"id", 601}, {"content", "\n\n"}, {"special", false}, {"normalized", false}}));
  json["added_tokens"][4]["id"] = *make(small()).id_of("\n\n");
  const Tokenizer t = make(json);
  EXPECT_EQ(t.vocabulary_size(), 601);
  EXPECT_THAT(t.encode("ab ab", SpecialTokens::kAsText), ElementsAre(*t.id_of("a"), 600, *t.id_of("b")));
  EXPECT_THAT(t.encode("b▁a", SpecialTokens::kAsText), ElementsAre(600));
  EXPECT_EQ(t.piece(500), "");  // ids may leave gaps
  const Ids with_gap = {500, 601, -5};
  EXPECT_EQ(t.decode(with_gap), "");
}

TEST(Tokenizer, RunsAreEncodedAcrossTheirCuts) {
  const Tokenizer t = make(small());
  const int32_t turn = *t.id_of("<|turn>");
  const std::vector<EncodeItem> items = {{turn, {}}, {-1, "a"}, {-1, "b"}, {-1, "a<|turn>"}, {turn, {}}, {-1, ""}};
  Ids expected = {turn, *t.id_of("aba")};
  for (const int32_t id : t.encode("<|turn>", SpecialTokens::kAsText)) expected.push_back(id);
  expected.push_back(turn);
  EXPECT_EQ(t.encode_runs(items), expected);
}

TEST(Tokenizer, EveryTextComesBack) {
  const Json golden = read_golden("tokenizer/encode.json");
  for (const Json& row : golden) {
    std::string text = row["text"];
    const std::string expected = row["decoded"];
    EXPECT_EQ(golden_tokenizer().decode(golden_tokenizer().encode(text, SpecialTokens::kAsText)), expected);
  }
}

// In processor time, which a busy machine does not stretch much.
TEST(Tokenizer, AMegabyteTakesWellUnderASecond) {
  std::string text;
  const Json golden = read_golden("tokenizer/chat.json");
  while (text.size() < 1'000'000) {
    for (const Json& row : golden) text += row["rendered"].get<std::string>();
  }
  const Tokenizer& tokenizer = golden_tokenizer();
  const std::clock_t begin = std::clock();
  const Ids ids = tokenizer.encode(text, SpecialTokens::kAsText);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  std::printf("%zu bytes, %zu tokens, %.3f s\n", text.size(), ids.size(), seconds);
  EXPECT_GT(ids.size(), text.size() / 20);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(seconds, 1.0);
#endif
}

TEST(Tokenizer, NeedsNoAddedTokens) {
  const Tokenizer t = make(tokenizer_json({"a", "b", "ab"}, {{"a", "b"}}, {}));
  EXPECT_THAT(t.encode("ab<bos>", SpecialTokens::kRecognise), ::testing::SizeIs(1 + 5));
  EXPECT_FALSE(t.is_special(*t.id_of("ab")));
}

TEST(Tokenizer, ReadsMergesInBothSpellings) {
  Json json = small();
  for (Json& merge : json["model"]["merges"]) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  const Tokenizer old_spelling = make(json), t = make(small());
  EXPECT_EQ(old_spelling.encode("ab aba\n\n", SpecialTokens::kAsText), t.encode("ab aba\n\n", SpecialTokens::kAsText));
}

std::string refusal(const Json& json) {
  const Result<Tokenizer> made = Tokenizer::parse(dump_json(json), "t.json");
  EXPECT_FALSE(made);
  return made ? "" : made.error().message;
}

TEST(Tokenizer, RefusesOtherStructuresByName) {
  const auto with = [](const char* pointer, const Json& value) {
    Json json = small();
    json[Json::json_pointer(pointer)] = value;
    return json;
  };
  EXPECT_THAT(refusal(with("/normalizer/content", "_")),
              HasSubstr("t.json: not a Gemma tokenizer: normalizer: expected"));
  EXPECT_THAT(refusal(with("/normalizer", nullptr)), HasSubstr("found nothing"));
  EXPECT_THAT(refusal(with("/pre_tokenizer", Json::object({{"type", "ByteLevel"}}))), HasSubstr("pre_tokenizer"));
  EXPECT_THAT(refusal(with("/decoder/decoders/1/type", "ByteLevel")), HasSubstr("decoder"));
  EXPECT_THAT(refusal(with("/model/type", "Unigram")), HasSubstr("model.type: expected \"BPE\", found \"Unigram\""));
  EXPECT_THAT(refusal(with("/model/byte_fallback", false)), HasSubstr("byte_fallback"));
  EXPECT_THAT(refusal(with("/model/ignore_merges", true)), HasSubstr("ignore_merges"));
  EXPECT_THAT(refusal(with("/model/dropout", 0.1)), HasSubstr("dropout"));
  EXPECT_THAT(refusal(with("/model/end_of_word_suffix", "</w>")), HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(refusal(with("/added_tokens/0/lstrip", true)), HasSubstr("added_tokens[0]"));
}

TEST(Tokenizer, AcceptsEqualSpellingsOfTheStructure) {
  Json json = small();
  json["normalizer"] = Json::object({{"type", "Sequence"}, {"normalizers", Json::array({json["normalizer"]})}});
  json["pre_tokenizer"] = nullptr;
  json["decoder"]["decoders"].erase(2);
  json["model"]["dropout"] = nullptr;
  json["model"]["continuing_subword_prefix"] = "";
  EXPECT_TRUE(Tokenizer::parse(dump_json(json), "t"));
}

TEST(Tokenizer, RefusesDamage) {
  const auto with = [](const char* pointer, const Json& value) {
    Json json = small();
    json[Json::json_pointer(pointer)] = value;
    return json;
  };
  EXPECT_THAT(refusal(with("/model/vocab/a", 3)), HasSubstr("id 3 is given to two pieces, \"<0x03>\" and \"a\""));
  EXPECT_THAT(refusal(with("/model/vocab/a", -1)),
              HasSubstr("model.vocab[\"a\"]: expected an id below 4194304, found -1"));
  EXPECT_THAT(refusal(with("/model/vocab/a", 1 << 30)), HasSubstr("found 1073741824"));
  EXPECT_THAT(refusal(with("/model/vocab/a", "x")), HasSubstr("expected an id"));
  EXPECT_THAT(refusal(with("/model/vocab", Json::array())), HasSubstr("vocab"));
  EXPECT_THAT(refusal(with("/model/merges/1", Json::array({"a", "q"}))), HasSubstr("merge 1: right part \"q\" is not"));
  EXPECT_THAT(refusal(with("/model/merges/1", Json::array({"b", "b"}))), HasSubstr("result \"bb\""));
  EXPECT_THAT(refusal(with("/model/merges/1", "a b c")), HasSubstr("model.merges[1]"));
  EXPECT_THAT(refusal(with("/model/merges/1", Json::array({"a"}))), HasSubstr("two strings"));
  EXPECT_THAT(refusal(with("/model/merges", "x")), HasSubstr("model.merges: expected an array"));
  EXPECT_THAT(refusal(with("/added_tokens/0/id", 7)), HasSubstr("added token \"<bos>\" has id 7, the vocabulary says"));
  EXPECT_THAT(refusal(with("/added_tokens/0/content", "")), HasSubstr("is empty"));
  Json no_byte = small();
  no_byte["model"]["vocab"].erase("<0x41>");
  EXPECT_THAT(refusal(no_byte), HasSubstr("byte token <0x41> is not in the vocabulary"));
  for (const char* text : {"", "[]", "{", "3", "{}", "{\"model\": 3}"})
    EXPECT_FALSE(Tokenizer::parse(text, "t")) << text;
  EXPECT_EQ(Tokenizer::open("/nonexistent/tokenizer.json").error().code, ErrorCode::kNotFound);
}

TEST(Tokenizer, ReadsEveryGoldenModel) {
  for (const char* model : {"unified-a", "unified-b", "unified-c"}) {
    const Result<Tokenizer> t = Tokenizer::open(golden_path("models/") + model);
    ASSERT_TRUE(t) << t.error().message;
    EXPECT_TRUE(t->id_of("<|turn>") && t->is_special(*t->id_of("<|turn>")));
  }
}

}  // namespace
}  // namespace lapidary
