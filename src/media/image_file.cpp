#include "media/image_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/limits.h"
#include "media/image_decoders.h"

namespace lapidary {
namespace {

bool starts_with(std::span<const std::byte> bytes, std::string_view magic, size_t at = 0) {
  return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

// What a file that is no picture of ours looks like, for the error message.
std::string describe(std::span<const std::byte> bytes) {
  struct Kind {
    std::string_view magic;
    size_t at;
    std::string_view name;
  };
  static constexpr Kind kKinds[] = {
      {"II*", 0, "a TIFF file"},       {std::string_view("MM\0*", 4), 0, "a TIFF file"},
      {"ftypavif", 4, "an AVIF file"}, {"ftypheic", 4, "a HEIC file"},
      {"ftypmif1", 4, "a HEIF file"},  {"%PDF", 0, "a PDF file"},
      {"<svg", 0, "an SVG file"},      {"RIFF", 0, "another RIFF file"},
      {"ftyp", 4, "an MP4 file"},      {"\x1a\x45\xdf\xa3", 0, "a Matroska file"},
  };
  for (const Kind& kind : kKinds) {
    if (starts_with(bytes, kind.magic, kind.at)) return std::string(kind.name);
  }
  const auto head = bytes.first(std::min<size_t>(bytes.size(), 512));
  const bool text = std::all_of(head.begin(), head.end(), [](std::byte b) {
    const unsigned c = std::to_integer<unsigned>(b);
    return c >= 0x20 || c == '\t' || c == '\n' || c == '\r';
  });
  if (text) return "text";
  std::string hex;
  for (const std::byte b : bytes.first(std::min<size_t>(bytes.size(), 8))) {
    hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", std::to_integer<unsigned>(b));
  }
  return fmt::format("{} bytes beginning with {}", bytes.size(), hex);
}

}  // namespace

Result<void> check_image_size(int64_t width, int64_t height, std::string_view name) {
  if (width < 1 || height < 1) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: expected at least 1x1 pixels, found {}x{}", name, width, height)};
  }
  if (width > kLimits.image_pixels_max / height) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("{}: expected at most {} pixels, found {}x{}", name,
                                                          kLimits.image_pixels_max, width, height)};
  }
  if (std::max(width, height) > kLimits.image_side_max) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("{}: expected sides of at most {} pixels, found {}x{}", name,
                                                          kLimits.image_side_max, width, height)};
  }
  return {};
}

Result<Image> make_canvas(int64_t width, int64_t height, std::string_view name, const DecodeWatch& watch) {
  RETURN_IF_ERROR(check_image_size(width, height, name));
  RETURN_IF_ERROR(watch.take(name, fmt::format("a picture of {}x{} pixels", width, height), {width, height, 3}));
  Image canvas;
  canvas.width = static_cast<int32_t>(width);
  canvas.height = static_cast<int32_t>(height);
  canvas.pixels.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  return canvas;
}

Result<ImageFormat> detect_image_format(std::span<const std::byte> bytes, std::string_view name) {
  if (bytes.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: expected a JPEG, PNG, WebP, GIF or BMP picture, found an empty file", name)};
  }
  if (starts_with(bytes, "\xff\xd8")) return ImageFormat::kJpeg;
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return ImageFormat::kPng;
  if (starts_with(bytes, "RIFF") && starts_with(bytes, "WEBP", 8)) return ImageFormat::kWebp;
  if (starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a")) return ImageFormat::kGif;
  if (starts_with(bytes, "BM") && bytes.size() >= 26) return ImageFormat::kBmp;
  return Error{ErrorCode::kUnsupported,
               fmt::format("{}: expected a JPEG, PNG, WebP, GIF or BMP picture, found {}", name, describe(bytes))};
}

Result<Image> decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch) {
  if (std::ssize(bytes) > kLimits.image_file_bytes_max) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("{}: expected a picture of at most {} bytes, found {}", name,
                                                          kLimits.image_file_bytes_max, bytes.size())};
  }
  ASSIGN_OR_RETURN(const ImageFormat format, detect_image_format(bytes, name));
  const auto decode = [&]() -> Result<StoredImage> {
    switch (format) {
      case ImageFormat::kJpeg:
        return decode_jpeg(bytes, name, watch);
      case ImageFormat::kPng:
        return decode_png(bytes, name, watch);
      case ImageFormat::kWebp:
        return decode_webp(bytes, name, watch);
      case ImageFormat::kGif:
        return decode_gif(bytes, name, watch);
      case ImageFormat::kBmp:
        return decode_bmp(bytes, name, watch);
    }
    return Error{ErrorCode::kUnsupported, fmt::format("{}: unknown picture format", name)};
  };
  ASSIGN_OR_RETURN(StoredImage stored, decode());
  return oriented(std::move(stored.image), stored.orientation);
}

}  // namespace lapidary
