// What the media room hands to the model: pictures as patch rows, sound as frames, with what is needed to place them.
#pragma once

#include <cstdint>
#include <vector>

namespace lapidary {

enum class MediaKind : uint8_t { kImage, kVideo, kAudio };

// One picture, one video frame, or one clip of sound.
struct MediaInput {
  MediaKind kind = MediaKind::kImage;
  int32_t rows = 0;        // soft tokens it will become
  int32_t value_rows = 0;  // rows of values; 0: one for each soft token, as the encoder-free variant reads them
  int32_t cols = 0;
  // [units(), cols]: patches in [0, 1], features (row, column, channel), row by row; or samples in [-1, 1]
  std::vector<float> values;
  std::vector<int32_t> positions;  // [units(), 2]: x (column), y (row) of each patch; empty for sound
  uint64_t content_hash = 0;       // of values and positions: equal inputs are equal
  int32_t source_width = 0, source_height = 0;
  double seconds = 0;  // audio: length; video frame: its time in the source

  // What a model's encoder reads: patches, or frames of sound.
  int32_t units() const { return value_rows > 0 ? value_rows : rows; }
};

}  // namespace lapidary
