#include "text/text_stream.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "text/stop_strings.h"
#include "text/tokenizer_support.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

TEST(TextStream, GivesWholeCharactersThatAddUpToDecode) {
  const Tokenizer& t = golden_tokenizer();
  const int32_t byte_zero = *t.id_of("<0x00>");
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    Ids ids;
    for (uint64_t i = 0; i < 1 + seed % 30; ++i) {
      const uint64_t draw = hash_counter(seed, i, 0);
      // Half of them bytes, and of these many that can follow each other in UTF-8.
      const int32_t byte =
          byte_zero + static_cast<int32_t>((draw >> 8) % 2 != 0 ? 0x80 + (draw >> 9) % 64 : (draw >> 9) % 256);
      ids.push_back(
          draw % 2 != 0 ? byte : static_cast<int32_t>((draw >> 20) % static_cast<uint64_t>(t.vocabulary_size() + 3)));
    }
    TextStream stream(t);
    std::string text;
    for (const int32_t id : ids) {
      const std::string piece = stream.push(id);
      ASSERT_TRUE(utf8_valid(piece)) << "seed " << seed;
      text += piece;
    }
    const std::string rest = stream.flush();
    ASSERT_TRUE(utf8_valid(rest));
    ASSERT_EQ(text + rest, t.decode(ids)) << "seed " << seed;
  }
}

TEST(TextStream, HoldsAByteRunUntilItsEnd) {
  const Tokenizer& t = golden_tokenizer();
  const int32_t zero = *t.id_of("<0x00>"), a = *t.id_of("a");
  TextStream stream(t);
  EXPECT_EQ(stream.push(zero + 0xc3), "");
  EXPECT_EQ(stream.push(zero + 0xa9), "");
  EXPECT_EQ(stream.push(a), "éa");
  EXPECT_EQ(stream.push(zero + 0xc3), "");
  EXPECT_EQ(stream.push(a), "\ufffda");
  EXPECT_EQ(stream.push(zero + 0xe2), "");
  EXPECT_EQ(stream.push(zero + 0x82), "");
  EXPECT_EQ(stream.flush(), "\ufffd\ufffd");
  EXPECT_EQ(stream.flush(), "");
}

// The definition: the shortest prefix of text that ends with a stop string, less the longest such string.
std::string before_stop(const std::string& text, const std::vector<std::string>& stops, bool& stopped) {
  stopped = false;
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (!stop.empty() && text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) {
      stopped = true;
      return text.substr(0, end - longest);
    }
  }
  return text;
}

TEST(StopStrings, EqualsTheDefinitionHoweverTheTextIsCut) {
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t below) { return hash_counter(seed, counter++, 0) % below; };
    const auto word = [&](uint64_t length) {
      std::string out;
      for (uint64_t i = 0; i < length; ++i) out += static_cast<char>('a' + draw(2 + seed % 2));
      return out;
    };
    std::vector<std::string> stops;
    for (uint64_t i = 0; i < draw(4); ++i) stops.push_back(word(draw(7)));
    const std::string text = word(draw(40));
    bool expected_stop = false;
    const std::string expected = before_stop(text, stops, expected_stop);

    StopStrings stream(stops);
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t bytes = 1 + draw(5);
      out += stream.push(std::string_view(text).substr(at, bytes));
      ASSERT_TRUE(expected.starts_with(out)) << "seed " << seed;  // nothing that a stop string takes back
      at += bytes;
    }
    out += stream.flush();
    ASSERT_EQ(out, expected) << "seed " << seed;
    ASSERT_EQ(stream.stopped(), expected_stop) << "seed " << seed;
    if (expected_stop) {
      ASSERT_TRUE(text.substr(out.size()).starts_with(stream.matched()));
    }
  }
}

TEST(StopStrings, HoldsOnlyWhatMayBeABeginning) {
  StopStrings stops({"\nUser:", "END"});
  EXPECT_EQ(stops.push("Hello\n"), "Hello");
  EXPECT_EQ(stops.push("Us"), "");
  EXPECT_EQ(stops.push("ual"), "\nUsual");
  EXPECT_EQ(stops.push(" E"), " ");
  EXPECT_EQ(stops.push("ND and more"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.matched(), "END");
  EXPECT_EQ(stops.push("x"), "");
  EXPECT_EQ(stops.flush(), "");
}

}  // namespace
}  // namespace lapidary
