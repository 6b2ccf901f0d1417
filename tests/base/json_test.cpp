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

TEST(Json, DumpsInvalidUtf8WithoutThrowing) { EXPECT_EQ(dump_json(Json("a\xff")), "\"a\xef\xbf\xbd\""); }

}  // namespace
}  // namespace lapidary
