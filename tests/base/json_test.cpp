#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lapidary {
namespace {

using ::testing::HasSubstr;

TEST(Json, ReportsWhereSyntaxBreaks) {
  const auto broken = parse_json(R"({"a": 1,, "b": 2})", "x.json");
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message, HasSubstr("x.json: not valid JSON at byte 9 of 17"));
}

TEST(Json, RefusesDeepNesting) {
  EXPECT_FALSE(parse_json(std::string(100000, '['), "deep"));
  EXPECT_TRUE(parse_json("[\"[[[[[[\", {\"a\": \"\\\"[[[\"}]", "strings do not nest"));
}

TEST(Json, KeepsOrder) {
  const auto value = parse_json(R"({"z": 1, "a": 2})", "x");
  ASSERT_TRUE(value);
  EXPECT_EQ(dump_json(*value), R"({"z":1,"a":2})");
}

TEST(Json, TypedReadsNameKeyExpectedAndFound) {
  const auto value = parse_json(R"({"n": "4", "big": 70000, "null": null, "huge": 18446744073709551615})", "c.json");
  const auto object = JsonObject::of(*value, "c.json");
  ASSERT_TRUE(object);
  EXPECT_EQ(object->integer("n", 0, 9).error().message, "c.json: \"n\": expected an integer in [0, 9], found \"4\"");
  EXPECT_THAT(object->integer("big", 0, 9).error().message, HasSubstr("found 70000"));
  EXPECT_THAT(object->integer("absent", 0, 9).error().message, HasSubstr("found nothing"));
  EXPECT_FALSE(object->integer("huge", 0, INT64_MAX));
  EXPECT_EQ(*object->integer_or("null", 0, 9, 7), 7);
}

TEST(Json, ExactParseKeepsEveryDigit) {
  const std::string text = R"({"a":[18446744073709551616,-9223372036854775809,{"b":1e400}],"c":1.5,"d":-7,"e":"x"})";
  EXPECT_FALSE(parse_json_exact(text, "x"));  // 1e400 is no number a double can hold
  const std::string good = R"({"a":[18446744073709551616,-9223372036854775809,{"b":1e300}],"c":1.5,"d":-7,"e":"x"})";
  const auto value = parse_json_exact(good, "x");
  ASSERT_TRUE(value);
  EXPECT_EQ(exact_integer((*value)["a"][0]), "18446744073709551616");
  EXPECT_EQ(exact_integer((*value)["d"]), "");
  EXPECT_EQ(dump_json(*value),
            R"({"a":[18446744073709551616,-9223372036854775809,{"b":1e+300}],"c":1.5,"d":-7,"e":"x"})");
}

TEST(Json, ExactParseAgreesWithTheOther) {
  for (const char* text : {"{}", "[]", "3", "\"s\"", R"({"a":{"b":[1,[2,{"c":null}],true]},"a2":-0,"u":"\u00e9"})",
                           R"({"twice":1,"twice":2})"}) {
    const auto exact = parse_json_exact(text, "x"), plain = parse_json(text, "x");
    ASSERT_TRUE(exact && plain) << text;
    EXPECT_EQ(*exact, *plain) << text;
  }
  const auto broken = parse_json_exact(R"({"a": 1,, "b": 2})", "x.json");
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message, HasSubstr("x.json: not valid JSON at byte 9 of 17"));
  EXPECT_FALSE(parse_json_exact(std::string(100000, '['), "deep"));
}

TEST(Json, DumpsInvalidUtf8WithoutThrowing) { EXPECT_EQ(dump_json(Json("a\xff")), "\"a\xef\xbf\xbd\""); }

}  // namespace
}  // namespace lapidary
