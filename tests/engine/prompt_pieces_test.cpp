#include "engine/prompt_pieces.h"

#include <gtest/gtest.h>

#include <vector>

namespace lapidary {
namespace {

TEST(PromptPieces, NeverCutsAPicture) {
  const std::vector<Block> blocks = {{5, 12}, {40, 44}, {46, 50}};
  constexpr int32_t kPrompt = 60;
  for (int32_t rows = 1; rows <= 70; ++rows) {
    for (int32_t begin = 0; begin < kPrompt;) {
      const int32_t end = piece_end(blocks, begin, kPrompt, rows);
      ASSERT_GT(end, begin);
      ASSERT_LE(end, kPrompt);
      for (const Block& m : blocks) {
        ASSERT_FALSE(m.begin < end && end < m.end)
            << "pieces of " << rows << " cut [" << m.begin << ", " << m.end << ") at " << end;
      }
      // Only a whole picture may exceed what was wanted.
      if (end - begin > rows) {
        ASSERT_TRUE((begin == 5 && end == 12) || (begin == 40 && end == 44) || (begin == 46 && end == 50));
      }
      begin = end;
    }
  }
  EXPECT_EQ(piece_end(blocks, 0, kPrompt, 8), 5);    // the picture waits for the next piece
  EXPECT_EQ(piece_end(blocks, 5, kPrompt, 3), 12);   // and then enters whole
  EXPECT_EQ(piece_end(blocks, 13, kPrompt, 5), 18);  // anything else may be cut
  EXPECT_EQ(piece_end({}, 0, kPrompt, 8), 8);        // as may pictures whose tokens do not see each other
}

}  // namespace
}  // namespace lapidary
