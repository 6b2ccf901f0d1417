#include "engine/prompt_pieces.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

MediaSpan span(MediaKind kind, int32_t begin, int32_t end) {
  auto input = std::make_shared<MediaInput>();
  input->kind = kind;
  return {begin, end, input};
}

TEST(PromptPieces, NeverCutsAPicture) {
  const std::vector<MediaSpan> media = {span(MediaKind::kImage, 5, 12), span(MediaKind::kAudio, 14, 30),
                                        span(MediaKind::kVideo, 40, 44), span(MediaKind::kVideo, 46, 50)};
  constexpr int32_t kPrompt = 60;
  for (int32_t rows = 1; rows <= 70; ++rows) {
    for (int32_t begin = 0; begin < kPrompt;) {
      const int32_t end = piece_end(media, true, begin, kPrompt, rows);
      ASSERT_GT(end, begin);
      ASSERT_LE(end, kPrompt);
      for (const MediaSpan& m : media) {
        if (m.input->kind == MediaKind::kAudio) continue;
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
  EXPECT_EQ(piece_end(media, true, 0, kPrompt, 8), 5);    // the picture waits for the next piece
  EXPECT_EQ(piece_end(media, true, 5, kPrompt, 3), 12);   // and then enters whole
  EXPECT_EQ(piece_end(media, true, 13, kPrompt, 5), 18);  // sound may be cut
  EXPECT_EQ(piece_end(media, false, 0, kPrompt, 8), 8);   // as may pictures whose tokens do not see each other
}

}  // namespace
}  // namespace lapidary
