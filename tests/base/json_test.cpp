#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "base/utf8.h"

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

TEST(Json, DumpsInvalidUtf8WithoutThrowing) {
  EXPECT_EQ(dump_json(Json("a\xff")), "\"a\xef\xbf\xbd\"");
  for (const char* broken : {"\xed\xa0\x80x", "\xf0\x9f\x99", "\xc3", "\xc3\x28", "\x80\x80", "a\xe2\x82"}) {
    EXPECT_EQ(dump_json(Json(broken)), "\"" + utf8_repair(broken) + "\"");
  }
}

TEST(Json, EscapesLineEndsOfUnicodeOnTheWireOnly) {
  const Json value = {{"k\xc2\x85", "a\xe2\x80\xa8 b\xe2\x80\xa9\xe2\x80\xaa\xc2\x84"}};
  EXPECT_EQ(dump_wire_json(value), "{\"k\\u0085\":\"a\\u2028 b\\u2029\xe2\x80\xaa\xc2\x84\"}");
  EXPECT_EQ(dump_json(value), "{\"k\xc2\x85\":\"a\xe2\x80\xa8 b\xe2\x80\xa9\xe2\x80\xaa\xc2\x84\"}");
  EXPECT_EQ(parse_json(dump_wire_json(value), "x").value(), value);
}

TEST(Json, WhatIsNoFiniteNumberIsNull) {
  const Json value = {std::nan(""), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                      0.5};
  EXPECT_EQ(dump_wire_json(value), "[null,null,null,0.5]");
  EXPECT_EQ(dump_json(value), "[null,null,null,0.5]");
}

TEST(Json, ExactIntegersKeepTheirDigitsOnTheWire) {
  const std::string text = R"({"n":[-123456789012345678901234567890,18446744073709551615,-9223372036854775808]})";
  EXPECT_EQ(dump_wire_json(parse_json_exact(text, "x").value()), text);
}

// A value of every kind, from a seed.
Json random_value(uint64_t seed, uint64_t& counter, int depth) {
  const auto draw = [&](uint64_t below) { return hash_counter(seed, counter++, 0) % below; };
  const auto text = [&] {
    std::string out;
    for (uint64_t i = draw(9); i > 0; --i)
      utf8_append(out, static_cast<char32_t>(draw(3) != 0 ? draw(0x100) : 0x2000 + draw(0x60)));
    return out;
  };
  switch (draw(depth > 0 ? 8 : 6)) {
    case 0:
      return nullptr;
    case 1:
      return draw(2) != 0;
    case 2:
      return static_cast<int64_t>(hash_counter(seed, counter++, 1));
    case 3:
      return hash_counter(seed, counter++, 2) >> draw(64);
    case 4:
      return std::ldexp(static_cast<double>(draw(1 << 30)) - (1 << 29), static_cast<int>(draw(200)) - 100);
    case 5:
      return text();
    case 6: {
      Json object = Json::object();
      for (uint64_t i = draw(5); i > 0; --i) object[text()] = random_value(seed, counter, depth - 1);
      return object;
    }
    default: {
      Json array = Json::array();
      for (uint64_t i = draw(5); i > 0; --i) array.push_back(random_value(seed, counter, depth - 1));
      return array;
    }
  }
}

TEST(Json, DumpsWhatTheLibraryDumps) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    uint64_t counter = 0;
    const Json value = random_value(seed, counter, 4);
    ASSERT_EQ(dump_json(value), value.dump()) << seed;
    const std::string wire = dump_wire_json(value);
    for (const char* line_end : {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"})
      ASSERT_EQ(wire.find(line_end), std::string::npos);
    const auto back = parse_json(wire, "x");
    ASSERT_TRUE(back) << wire;
    ASSERT_EQ(*back, value) << wire;
  }
}

TEST(Json, CharactersOfPiecesAreThoseOfTheWhole) {
  const std::string text = "a\"\\\n\x01\xc2\x85\xe2\x80\xa8\xf0\x9f\x99\x82z";
  std::string whole, pieces;
  append_wire_characters(whole, text);
  EXPECT_EQ("\"" + whole + "\"", dump_wire_json(Json(text)));
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = static_cast<size_t>(utf8_scalar(text, at).bytes);
    append_wire_characters(pieces, std::string_view(text).substr(at, bytes));
    at += bytes;
  }
  EXPECT_EQ(pieces, whole);
}

}  // namespace
}  // namespace lapidary
