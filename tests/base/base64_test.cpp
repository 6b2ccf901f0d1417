#include "base/base64.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/rng.h"

namespace lapidary {
namespace {

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  return decode_base64(text, out) ? std::optional(out) : std::nullopt;
}

// Bit by bit, with the padding it needs.
std::string encoded(std::string_view bytes) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t bit = 0; bit < bytes.size() * 8; bit += 6) {
    size_t digit = 0;
    for (size_t i = bit; i < bit + 6; ++i) {
      digit = digit * 2 + (i / 8 < bytes.size() ? static_cast<uint8_t>(bytes[i / 8]) >> (7 - i % 8) & 1 : 0);
    }
    out += alphabet[digit];
  }
  while (out.size() % 4 != 0) out += '=';
  return out;
}

TEST(Base64, ReadsTheExamplesOfTheRfc) {
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9v"), "foo");
  EXPECT_EQ(decoded("Zm9vYg=="), "foob");
  EXPECT_EQ(decoded("Zm9vYmE="), "fooba");
  EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
}

TEST(Base64, PaddingIsOptional) {
  EXPECT_EQ(decoded("Zg"), "f");
  EXPECT_EQ(decoded("Zm8"), "fo");
  EXPECT_EQ(decoded("Zm9vYmE"), "fooba");
}

TEST(Base64, TakesBothAlphabetsAndWhiteSpace) {
  EXPECT_EQ(decoded("+/+/"), "\xfb\xff\xbf");
  EXPECT_EQ(decoded("-_-_"), "\xfb\xff\xbf");
  EXPECT_EQ(decoded(" Zm9v\r\nYm\tFy \n"), "foobar");
  EXPECT_EQ(decoded("Zg = =\n"), "f");
  EXPECT_EQ(decoded("Zm9vYmFyZm9vYmFy\nZm9vYmFyZm9vYmFy\n"), "foobarfoobarfoobarfoobar");
  EXPECT_EQ(decoded(" \n"), "");
}

TEST(Base64, RefusesTheRest) {
  for (const char* text : {"Z", "Zm9vY", "Zg=", "Zg===", "Zm8==", "Zm9v=", "=", "====", "Zg==Zg==", "Z=g=", "Zm9v!",
                           "Zm9*", "Zm9v%3D", "Zg==x", "Zm9\xc3\xa9", "Zm9vYmFyZm9v\x80mFy"}) {
    EXPECT_FALSE(decoded(text)) << text;
  }
  EXPECT_FALSE(decoded(std::string_view("Zm9\0", 4)));
}

TEST(Base64, ReadsBackWhatWasWritten) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    std::string bytes;
    for (uint64_t i = 0; i < seed % 67; ++i) bytes += static_cast<char>(hash_counter(seed, i, 0));
    std::string text = encoded(bytes);
    ASSERT_EQ(decoded(text), bytes) << seed;
    const size_t at = hash_counter(seed, 99, 0) % (text.size() + 1);
    if (at <= text.find_last_not_of('=') + 1) {
      text.insert(at, "\r\n");
      ASSERT_EQ(decoded(text), bytes) << text;
    }
  }
}

TEST(Base64, EncodesBitByBit) {
  std::string bytes;
  for (int size = 0; size < 100; ++size) {
    EXPECT_EQ(encode_base64(bytes), encoded(bytes));
    EXPECT_EQ(decoded(encode_base64(bytes)), bytes);
    bytes += static_cast<char>(hash_counter(7, static_cast<uint64_t>(size), 0));
  }
}

}  // namespace
}  // namespace lapidary
