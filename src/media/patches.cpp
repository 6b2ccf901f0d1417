#include "media/patches.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "media/content_hash.h"
#include "media/resize.h"

namespace lapidary {
namespace {

constexpr int32_t kChannels = 3;

// A whole number of sides in ideal pixels.
int64_t whole_sides(double ideal, int32_t side) { return static_cast<int64_t>(std::floor(ideal / side)) * side; }

// The 256 values a channel can have. The reference multiplies pictures with float(1/255) and divides frames by 255.
std::array<float, 256> channel_values(MediaKind kind) {
  std::array<float, 256> values{};
  for (int level = 0; level < 256; ++level) {
    const float pixel = static_cast<float>(level);
    values[level] = kind == MediaKind::kVideo ? pixel / 255.0f : pixel * static_cast<float>(0.00392156862745098);
  }
  return values;
}

uint64_t hash_picture(const Image& image, MediaKind kind, int32_t side) {
  ContentHash hash;
  hash.add(static_cast<uint64_t>(kind));
  hash.add(static_cast<uint64_t>(side));
  hash.add(static_cast<uint64_t>(image.width));
  hash.add(static_cast<uint64_t>(image.height));
  hash.add(std::as_bytes(std::span(image.pixels)));
  return hash.value();
}

}  // namespace

Result<TargetSize> target_size(int32_t width, int32_t height, const ImageOptions& options) {
  const int64_t budget = options.max_soft_tokens;
  if (std::find(kSoftTokenBudgets.begin(), kSoftTokenBudgets.end(), options.max_soft_tokens) ==
      kSoftTokenBudgets.end()) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("soft-token budget of a picture: expected 70, 140, 280, 560 or 1120, found {}", budget)};
  }
  CHECK(width >= 1 && height >= 1 && options.patch_size >= 1 && options.pooling_kernel_size >= 1);
  const int32_t side = options.side();
  const int64_t target_pixels = budget * side * side;
  // Doubles in exactly this order: a size that should come out as a whole number of sides may fall just below.
  const double factor = std::sqrt(static_cast<double>(target_pixels) / static_cast<double>(int64_t{width} * height));
  int64_t target_height = whole_sides(factor * height, side);
  int64_t target_width = whole_sides(factor * width, side);
  if (target_height == 0 && target_width == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a picture of {}x{} pixels has no room for one soft token in a budget of {}", width,
                             height, budget)};
  }
  if (target_height == 0) {
    target_height = side;
    target_width = std::min<int64_t>(int64_t{width / height} * side, budget * side);
  } else if (target_width == 0) {
    target_width = side;
    target_height = std::min<int64_t>(int64_t{height / width} * side, budget * side);
  }
  if (target_height * target_width > target_pixels) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a picture of {}x{} pixels: expected at most {} pixels after resizing, found {}x{}", width,
                             height, target_pixels, target_width, target_height)};
  }
  return TargetSize{static_cast<int32_t>(target_width), static_cast<int32_t>(target_height)};
}

Result<MediaInput> picture_patches(const Image& image, MediaKind kind, const ImageOptions& options) {
  CHECK(kind == MediaKind::kImage || kind == MediaKind::kVideo);
  ASSIGN_OR_RETURN(const TargetSize target, target_size(image.width, image.height, options));
  Image resized;
  const bool fits = target.width == image.width && target.height == image.height;
  if (!fits) resized = resize_bicubic(image, target.width, target.height);
  const Image& pixels = fits ? image : resized;

  const int32_t side = options.tower_patches ? options.patch_size : options.side();
  const int32_t across = pixels.width / side, down = pixels.height / side;
  MediaInput input;
  input.kind = kind;
  input.rows = (pixels.width / options.side()) * (pixels.height / options.side());
  input.value_rows = across * down;
  input.cols = side * side * kChannels;
  input.source_width = image.width;
  input.source_height = image.height;
  input.content_hash = hash_picture(pixels, kind, side);
  input.values.resize(static_cast<size_t>(input.value_rows) * input.cols);
  input.positions.reserve(static_cast<size_t>(input.value_rows) * 2);

  const std::array<float, 256> values = channel_values(kind);
  float* out = input.values.data();
  for (int32_t y = 0; y < down; ++y) {
    for (int32_t x = 0; x < across; ++x) {
      input.positions.push_back(x);
      input.positions.push_back(y);
      for (int32_t row = 0; row < side; ++row) {
        const uint8_t* in = pixels.row(y * side + row) + static_cast<size_t>(x) * side * kChannels;
        for (int32_t i = 0; i < side * kChannels; ++i) *out++ = values[in[i]];
      }
    }
  }
  return input;
}

}  // namespace lapidary
