#include "server/partial_json.h"

#include <gtest/gtest.h>

#include <string>

namespace lapidary::server {
namespace {

TEST(PartialJson, WhatIsCompleteIsKept) {
  const auto part = [](std::string_view fragment) { return complete_part(fragment).dump(); };
  EXPECT_EQ(part(""), "{}");
  EXPECT_EQ(part("{"), "{}");
  EXPECT_EQ(part(R"({"ci)"), "{}");
  EXPECT_EQ(part(R"({"city")"), "{}");
  EXPECT_EQ(part(R"({"city":)"), "{}");
  EXPECT_EQ(part(R"({"city":"Par)"), "{}");
  EXPECT_EQ(part(R"({"city":"Paris")"), R"({"city":"Paris"})");
  EXPECT_EQ(part(R"({"city":"Paris","da)"), R"({"city":"Paris"})");
  EXPECT_EQ(part(R"({"city":"Paris","days":1)"), R"({"city":"Paris"})");
  EXPECT_EQ(part(R"({"city":"Paris","days":12,)"), R"({"city":"Paris","days":12})");
  EXPECT_EQ(part(R"({"a":[1,2)"), R"({"a":[1]})");
  EXPECT_EQ(part(R"({"a":[{"b":true},{"c")"), R"({"a":[{"b":true},{}]})");
  EXPECT_EQ(part(R"({"a":"x\"}],{\\","b":nul)"), R"({"a":"x\"}],{\\"})");
  EXPECT_EQ(part(R"({"a":{"b":{"c":"d"}}})"), R"({"a":{"b":{"c":"d"}}})");
}

TEST(PartialJson, EveryBeginningIsAnObject) {
  const std::string whole = R"({"a":"x\"\\\u00e9","b":[1.5e3,{"c":null},[],""],"d":{},"e":false})";
  Json before = Json::object();
  for (size_t length = 0; length <= whole.size(); ++length) {
    const Json part = complete_part(std::string_view(whole).substr(0, length));
    ASSERT_TRUE(part.is_object()) << length;
    EXPECT_GE(part.dump().size() + 1, before.dump().size()) << length;  // never less
    before = part;
  }
  EXPECT_EQ(before.dump(), Json::parse(whole).dump());
}

TEST(PartialJson, NonsenseIsAnEmptyObject) {
  for (const char* text : {"]", "}", "[1", "nonsense", "{\"a\" \"b\"", "\"", "{]", ",,,{"}) {
    EXPECT_TRUE(complete_part(text).is_object()) << text;
  }
}

}  // namespace
}  // namespace lapidary::server
