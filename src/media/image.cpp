#include "media/image.h"

#include <algorithm>
#include <utility>

namespace lapidary {
namespace {

// Square tiles keep both the rows read and the rows written in cache when columns become rows.
constexpr int32_t kTile = 32;

// target(x, y) = stored(first + x * step_x + y * step_y), offsets counted in pixels of the stored picture.
struct Walk {
  int64_t first, step_x, step_y;
};

void copy_pixels(const Image& stored, const Walk& walk, Image& target) {
  for (int32_t tile_y = 0; tile_y < target.height; tile_y += kTile) {
    for (int32_t tile_x = 0; tile_x < target.width; tile_x += kTile) {
      const int32_t y_end = std::min(tile_y + kTile, target.height), x_end = std::min(tile_x + kTile, target.width);
      for (int32_t y = tile_y; y < y_end; ++y) {
        uint8_t* out = target.row(y) + static_cast<size_t>(tile_x) * 3;
        const uint8_t* in = stored.pixels.data() + (walk.first + tile_x * walk.step_x + y * walk.step_y) * 3;
        for (int32_t x = tile_x; x < x_end; ++x, out += 3, in += walk.step_x * 3) {
          out[0] = in[0];
          out[1] = in[1];
          out[2] = in[2];
        }
      }
    }
  }
}

}  // namespace

Image oriented(Image stored, int orientation) {
  if (orientation < 2 || orientation > 8) return stored;
  const int64_t w = stored.width, h = stored.height;
  const bool swaps_axes = orientation >= 5;
  Walk walk{};
  switch (orientation) {
    case 2:
      walk = {w - 1, -1, w};
      break;
    case 3:
      walk = {w * h - 1, -1, -w};
      break;
    case 4:
      walk = {w * (h - 1), 1, -w};
      break;
    case 5:
      walk = {0, w, 1};
      break;
    case 6:
      walk = {w * (h - 1), -w, 1};
      break;
    case 7:
      walk = {w * h - 1, -w, -1};
      break;
    default:
      walk = {w - 1, w, -1};
      break;  // 8
  }
  Image target;
  target.width = swaps_axes ? stored.height : stored.width;
  target.height = swaps_axes ? stored.width : stored.height;
  target.pixels.resize(stored.pixels.size());
  copy_pixels(stored, walk, target);
  return target;
}

}  // namespace lapidary
