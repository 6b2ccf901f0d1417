// JPEG, PNG, WebP, GIF and BMP files -> RGB pixels, the same pixels that PIL's Image.open(...), exif_transpose and
// convert("RGB") give: the reference preprocessing starts from those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "media/decode_watch.h"
#include "media/image.h"

namespace lapidary {

enum class ImageFormat : uint8_t { kJpeg, kPng, kWebp, kGif, kBmp };

// By the first bytes, never by the file's name. Errors: kInvalidArgument when there are no bytes, kUnsupported when
// they are of another kind; the message says what they look like.
Result<ImageFormat> detect_image_format(std::span<const std::byte> bytes, std::string_view name);

// Decodes a whole file held in memory; name stands for it in messages. Alpha is dropped, not blended; grey is
// replicated; palettes are looked up; 16-bit colour keeps its high byte while 16-bit grey is clamped at 255 (what PIL
// does); CMYK is taken as Adobe writes it, inverted; the EXIF orientation is applied. Of an animation the first frame,
// at a cost that does not depend on how many follow.
// Errors: kInvalidArgument for a picture of more than Limits::image_pixels_max or with a side of more than
// Limits::image_side_max, or a file of more than Limits::image_file_bytes_max (all before anything is decoded),
// kUnsupported for another format, kCorruptFile for a damaged or truncated file, kExhausted beyond what the watch
// allows.
Result<Image> decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch = {});

}  // namespace lapidary
