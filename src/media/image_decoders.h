// The picture decoders behind decode_image, and what they share. Private to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "media/decode_watch.h"
#include "media/image.h"

namespace lapidary {

// A picture as it is stored, before it is turned.
struct StoredImage {
  Image image;
  int orientation = 1;  // EXIF tag 0x0112
};

// Errors: kCorruptFile when width x height is empty, kInvalidArgument when it is more than Limits::image_pixels_max or
// one of them more than Limits::image_side_max.
Result<void> check_image_size(int64_t width, int64_t height, std::string_view name);

// The memory of a picture of that size: checked as above, taken from what the watch allows, and only then had. Errors:
// kExhausted, too.
Result<Image> make_canvas(int64_t width, int64_t height, std::string_view name, const DecodeWatch& watch);

// All ask the watch between rows, or pieces of the file, whether to go on. Errors as decode_image.
Result<StoredImage> decode_jpeg(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch);
Result<StoredImage> decode_png(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch);
Result<StoredImage> decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch);
Result<StoredImage> decode_gif(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch);
Result<StoredImage> decode_bmp(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch);

}  // namespace lapidary
