// A decoded picture: 8 bits per channel, RGB, rows from top to bottom. Nothing here knows file formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lapidary {

struct Image {
  int32_t width = 0, height = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3], no padding between rows

  size_t row_bytes() const { return static_cast<size_t>(width) * 3; }
  const uint8_t* row(int32_t y) const { return pixels.data() + static_cast<size_t>(y) * row_bytes(); }
  uint8_t* row(int32_t y) { return pixels.data() + static_cast<size_t>(y) * row_bytes(); }
};

// The stored picture turned the way it is meant to be seen. orientation is the value of the EXIF tag 0x0112: 1 as
// stored, 2 mirrored left-right, 3 turned by 180 degrees, 4 mirrored top-bottom, 5 transposed, 6 to be turned by 90
// degrees clockwise, 7 transversed, 8 to be turned by 90 degrees counter-clockwise. Any other value counts as 1.
Image oriented(Image stored, int orientation);

}  // namespace lapidary
