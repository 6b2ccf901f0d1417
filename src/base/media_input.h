// What the media room hands to the model: pictures as patch rows, sound as frames, with what is needed to place them.
#pragma once

#include <cstdint>
#include <vector>

namespace lapidary {

enum class MediaKind : uint8_t { kImage, kVideo, kAudio };

// One picture, one video frame, or one clip of sound. rows = soft tokens it will become (for the encoder-free variant).
struct MediaInput {
  MediaKind kind = MediaKind::kImage;
  int32_t rows = 0, cols = 0;
  std::vector<float> values;  // [rows, cols]: patches in [0, 1], features (row, column, channel); or samples in [-1, 1]
  std::vector<int32_t> positions;  // [rows, 2]: x (column), y (row) of each patch; empty for sound
  uint64_t content_hash = 0;       // of values and positions: equal inputs are equal
  int32_t source_width = 0, source_height = 0;
  double seconds = 0;  // audio: length; video frame: its time in the source
};

}  // namespace lapidary
