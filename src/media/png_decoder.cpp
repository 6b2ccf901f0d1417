// PNG through libpng. Gamma and colour profiles are ignored and alpha is dropped, as PIL's convert("RGB") does.
//
// libpng reports errors by calling a function that must not return. It jumps back here; every function that a jump can
// leave has only trivially destructible locals.
#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "media/exif.h"
#include "media/image_decoders.h"

namespace lapidary {
namespace {

constexpr size_t kSignatureBytes = 8;
constexpr size_t kChunkOverheadBytes = 12;  // length, type, checksum

uint32_t big_endian_u32(std::span<const std::byte> bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(bytes[at + i]);
  return value;
}

class PngFile {
 public:
  explicit PngFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  PngFile(const PngFile&) = delete;
  PngFile& operator=(const PngFile&) = delete;
  ~PngFile() {
    if (png_ != nullptr) png_destroy_read_struct(&png_, &info_, nullptr);
  }

  // The functions below return false with a message() when libpng gives up.
  bool read_header() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, ignore_warning);
    if (png_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    png_set_read_fn(png_, this, read_bytes);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_image_size is the limit
    // Colour profiles, text and the like are not looked at, so they cannot fail.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    return true;
  }

  // Asks for RGB8, or for 16-bit grey as it is stored. passes: how often all rows are to be read.
  bool start(int* passes) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    if (!grey16()) {
      png_set_expand(png_);  // palettes to RGB, 1, 2 and 4 bits to 8
      png_set_strip_16(png_);
      png_set_strip_alpha(png_);
      png_set_gray_to_rgb(png_);
    }
    *passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool read_row(uint8_t* row) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_row(png_, row, nullptr);
    return true;
  }

  bool grey16() const { return color_type() == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png_, info_) == 16; }
  int color_type() const { return png_get_color_type(png_, info_); }
  uint32_t width() const { return png_get_image_width(png_, info_); }
  uint32_t height() const { return png_get_image_height(png_, info_); }
  size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  const char* message() const { return message_; }

 private:
  [[noreturn]] static void fail(png_structp png, png_const_charp message) {
    auto* file = static_cast<PngFile*>(png_get_error_ptr(png));
    std::snprintf(file->message_, sizeof(file->message_), "%s", message);
    png_longjmp(png, 1);
  }
  static void ignore_warning(png_structp, png_const_charp) {}
  static void read_bytes(png_structp png, png_bytep out, size_t count) {
    auto* file = static_cast<PngFile*>(png_get_io_ptr(png));
    if (count > file->bytes_.size() - file->position_) png_error(png, "the file ends too early");
    std::memcpy(out, file->bytes_.data() + file->position_, count);
    file->position_ += count;
  }

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[128] = "out of memory";
};

// The eXIf chunk may stand before or after the pixels.
int orientation_of(std::span<const std::byte> bytes) {
  for (size_t at = kSignatureBytes; bytes.size() >= at + kChunkOverheadBytes;) {
    const size_t length = big_endian_u32(bytes, at);
    if (length > bytes.size() - at - kChunkOverheadBytes) return 1;
    if (std::memcmp(bytes.data() + at + 4, "eXIf", 4) == 0) return exif_orientation(bytes.subspan(at + 8, length));
    at += length + kChunkOverheadBytes;
  }
  return 1;
}

// grey: [pixels] of 16 bits, most significant byte first; what exceeds 255 is white.
void clamp_grey16(const uint8_t* grey, size_t pixels, uint8_t* rgb) {
  for (size_t i = 0; i < pixels; ++i, grey += 2, rgb += 3) {
    rgb[0] = rgb[1] = rgb[2] = grey[0] == 0 ? grey[1] : uint8_t{255};
  }
}

}  // namespace

Result<StoredImage> decode_png(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch) {
  PngFile file(bytes);
  const auto damaged = [&](std::string_view where) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: damaged or truncated PNG of {} bytes, {}: {}", name,
                                                      bytes.size(), where, file.message())};
  };
  if (!file.read_header()) return damaged("in the header");
  StoredImage stored;
  ASSIGN_OR_RETURN(stored.image, make_canvas(file.width(), file.height(), name, watch));
  int passes = 0;
  const bool grey16 = file.grey16();
  if (!file.start(&passes)) return damaged("at the start of the pixels");

  stored.orientation = orientation_of(bytes);
  const size_t pixels = static_cast<size_t>(stored.image.width) * stored.image.height;
  std::vector<uint8_t> grey(grey16 ? pixels * 2 : 0);
  const size_t row_bytes = static_cast<size_t>(stored.image.width) * (grey16 ? 2 : 3);
  CHECK(file.row_bytes() == row_bytes);
  uint8_t* rows = grey16 ? grey.data() : stored.image.pixels.data();
  for (int pass = 0; pass < passes; ++pass) {
    for (int32_t y = 0; y < stored.image.height; ++y) {
      if (watch.late()) return watch.late_error(name);
      if (!file.read_row(rows + static_cast<size_t>(y) * row_bytes)) {
        return damaged(fmt::format("in row {} of {}", y, stored.image.height));
      }
    }
  }
  if (grey16) clamp_grey16(grey.data(), pixels, stored.image.pixels.data());
  return stored;
}

}  // namespace lapidary
