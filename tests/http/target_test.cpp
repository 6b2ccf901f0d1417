#include "http/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lapidary {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(RequestTarget, SplitsPaths) {
  EXPECT_THAT(parse_target("/")->segments, IsEmpty());
  EXPECT_THAT(parse_target("///")->segments, IsEmpty());
  EXPECT_THAT(parse_target("/v1/models")->segments, ElementsAre("v1", "models"));
  EXPECT_THAT(parse_target("//v1///models//")->segments, ElementsAre("v1", "models"));
  EXPECT_THAT(parse_target("/v1/models/?")->segments, ElementsAre("v1", "models"));
  EXPECT_THAT(parse_target("/./..")->segments, ElementsAre(".", ".."));
}

TEST(RequestTarget, AnEscapedSlashSeparatesNothing) {
  const auto escaped = parse_target("/v1/models/google%2Fgemma-4-E2B-it");
  const auto plain = parse_target("/v1/models/google/gemma-4-E2B-it/");
  ASSERT_TRUE(escaped && plain);
  EXPECT_EQ(escaped->segments.size(), 3u);
  EXPECT_EQ(plain->segments.size(), 4u);
  EXPECT_EQ(escaped->rest(2), "google/gemma-4-E2B-it");
  EXPECT_EQ(plain->rest(2), "google/gemma-4-E2B-it");
  EXPECT_EQ(plain->rest(4), "");
  EXPECT_EQ(parse_target("/m/a%3Ab+c%C3%A9")->rest(1), "a:b+c\xc3\xa9");
}

TEST(RequestTarget, ReadsQueries) {
  const auto target = parse_target("/v1/messages?beta=true&&x&y=&a+b=c%20d+e&beta=2&z=1=2");
  ASSERT_TRUE(target);
  EXPECT_THAT(target->query, ElementsAre(Pair("beta", "true"), Pair("x", ""), Pair("y", ""), Pair("a b", "c d e"),
                                         Pair("beta", "2"), Pair("z", "1=2")));
  EXPECT_EQ(*target->parameter("beta"), "true");
  EXPECT_EQ(target->parameter("none"), nullptr);
}

TEST(RequestTarget, RefusesDamage) {
  for (const char* target : {"", "v1", "*", "?x", "/%", "/%4", "/%zz", "/a%0", "/%00", "/%0a", "/a\x01", "/%ff", "/%c3",
                             "/%ed%a0%80", "/a#b", "/?x=%", "/?%zz", "/?x=%ff"}) {
    const auto parsed = parse_target(target);
    ASSERT_FALSE(parsed) << target;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument) << target;
  }
}

TEST(RequestTarget, IsBounded) {
  std::string path, query = "/?";
  for (int i = 0; i < 64; ++i) {
    path += "/a";
    query += "a=b&";
  }
  EXPECT_TRUE(parse_target(path));
  EXPECT_TRUE(parse_target(query));
  EXPECT_EQ(parse_target(path + "/a").error().code, ErrorCode::kExhausted);
  EXPECT_EQ(parse_target(query + "a").error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace lapidary
