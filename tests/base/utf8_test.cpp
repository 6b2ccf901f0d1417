#include "base/utf8.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(Utf8, EveryScalarRoundTrips) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    std::string text;
    utf8_append(text, code);
    const Utf8Scalar scalar = utf8_scalar(text, 0);
    ASSERT_TRUE(scalar.valid) << static_cast<uint32_t>(code);
    ASSERT_EQ(scalar.code, code);
    ASSERT_EQ(static_cast<size_t>(scalar.bytes), text.size());
    // Any proper prefix is an incomplete tail, the whole is not.
    for (size_t cut = 1; cut < text.size(); ++cut) ASSERT_EQ(utf8_incomplete_tail(text.substr(0, cut)), cut);
    ASSERT_EQ(utf8_incomplete_tail(text), 0u);
  }
}

TEST(Utf8, RefusesIllFormed) {
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"}) {
    EXPECT_FALSE(utf8_valid(bad));
    EXPECT_TRUE(utf8_valid(utf8_repair(bad)));
  }
  EXPECT_EQ(utf8_repair("a\xe2\x82z"), "a\xef\xbf\xbdz");  // one mark for the cut character
  EXPECT_EQ(utf8_incomplete_tail("\xe2\xff"), 0u);         // cannot be completed
}

TEST(Utf8, FloorNeverCutsACharacter) {
  const std::string text = "a\xe2\x82\xac";
  EXPECT_EQ(utf8_floor(text, 3), 1u);
  EXPECT_EQ(utf8_floor(text, 4), 4u);
  EXPECT_EQ(utf8_floor(text, 99), 4u);
}

}  // namespace
}  // namespace lapidary
