// JPEG through libjpeg-turbo with its defaults (slow integer IDCT, fancy chroma upsampling): PIL's pixels.
//
// libjpeg reports errors by calling a function that must not return. It jumps back here; every function that a jump
// can leave (those that call setjmp, and what they call) has only trivially destructible locals.
#include <fmt/format.h>

// jpeglib.h needs FILE and size_t from these.
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>

#include <jerror.h>

#include <csetjmp>
#include <cstring>
#include <vector>

#include "media/exif.h"
#include "media/image_decoders.h"

namespace lapidary {
namespace {

// A progressive file may repeat scans without end, each as expensive as a picture; encoders write about ten.
constexpr int kScansMax = 500;
constexpr int kApp1 = JPEG_APP0 + 1;

struct JpegErrors {
  jpeg_error_mgr manager;  // first: libjpeg hands back a pointer to it
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  errors->manager.format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

void ignore_message(j_common_ptr) {}
// Warnings (damaged entropy data and the like) still give a picture, as they do in PIL.
void ignore_warning(j_common_ptr, int) {}

// The memory source would go on with an invented end-of-image marker; a truncated file is an error here.
boolean end_of_file(j_decompress_ptr info) {
  ERREXIT(info, JERR_INPUT_EOF);
  return FALSE;
}

struct JpegProgress {
  jpeg_progress_mgr manager;  // first, as above
  const DecodeWatch* watch;
};

// Between rows of blocks, also while all scans of a progressive file are read before the first row comes out.
void check_progress(j_common_ptr info) {
  const bool many = reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kScansMax;
  if (!many && !reinterpret_cast<JpegProgress*>(info->progress)->watch->late()) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  if (many) std::snprintf(errors->message, sizeof(errors->message), "more than %d scans", kScansMax);
  std::longjmp(errors->jump, 1);
}

class JpegFile {
 public:
  JpegFile(std::span<const std::byte> bytes, const DecodeWatch& watch) : bytes_(bytes) {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = fail;
    errors_.manager.output_message = ignore_message;
    errors_.manager.emit_message = ignore_warning;
    progress_.manager.progress_monitor = check_progress;
    progress_.watch = &watch;
  }
  JpegFile(const JpegFile&) = delete;
  JpegFile& operator=(const JpegFile&) = delete;
  ~JpegFile() { jpeg_destroy_decompress(&info_); }

  // The functions below return false with a message() when libjpeg gives up.
  bool read_header() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_.manager;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    info_.src->fill_input_buffer = end_of_file;
    jpeg_save_markers(&info_, kApp1, 0xffff);
    return jpeg_read_header(&info_, TRUE) == JPEG_HEADER_OK;
  }

  bool start(J_COLOR_SPACE space) {
    if (setjmp(errors_.jump) != 0) return false;
    info_.out_color_space = space;
    return jpeg_start_decompress(&info_) == TRUE;
  }

  bool read_row(uint8_t* row) {
    if (setjmp(errors_.jump) != 0) return false;
    JSAMPROW rows[1] = {row};
    return jpeg_read_scanlines(&info_, rows, 1) == 1;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  const char* message() const { return errors_.message; }

 private:
  std::span<const std::byte> bytes_;
  jpeg_decompress_struct info_{};
  JpegErrors errors_{};
  JpegProgress progress_{};
};

int orientation_of(const jpeg_decompress_struct& info) {
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker != kApp1 || marker->data_length < 6 || std::memcmp(marker->data, "Exif\0\0", 6) != 0) continue;
    return exif_orientation({reinterpret_cast<const std::byte*>(marker->data), marker->data_length});
  }
  return 1;
}

// a * b / 255, rounded to nearest.
unsigned multiply_255(unsigned a, unsigned b) {
  const unsigned product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// inverted: [width, 4] CMYK as Adobe stores it, 255 meaning no ink. The conversion is the one of PIL's convert("RGB").
void cmyk_to_rgb(const uint8_t* inverted, int32_t width, uint8_t* rgb) {
  for (int32_t x = 0; x < width; ++x, inverted += 4, rgb += 3) {
    const unsigned no_black = inverted[3];
    for (int c = 0; c < 3; ++c) {
      rgb[c] = static_cast<uint8_t>(no_black - multiply_255(255u - inverted[c], no_black));
    }
  }
}

}  // namespace

Result<StoredImage> decode_jpeg(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch) {
  JpegFile file(bytes, watch);
  const auto damaged = [&](std::string_view where) {
    if (watch.late()) return watch.late_error(name);
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: damaged or truncated JPEG of {} bytes, {}: {}", name,
                                                      bytes.size(), where, file.message())};
  };
  if (!file.read_header()) return damaged("in the header");
  const int32_t width = static_cast<int32_t>(file.info().image_width);
  const int32_t height = static_cast<int32_t>(file.info().image_height);
  const int components = file.info().num_components;
  if (components != 1 && components != 3 && components != 4) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: expected a JPEG of 1, 3 or 4 components, found {}", name, components)};
  }
  const bool cmyk = components == 4;
  StoredImage stored;
  ASSIGN_OR_RETURN(stored.image, make_canvas(width, height, name, watch));
  if (!file.start(cmyk ? JCS_CMYK : JCS_RGB)) return damaged("at the start of the pixels");

  stored.orientation = orientation_of(file.info());
  std::vector<uint8_t> inks(cmyk ? static_cast<size_t>(width) * 4 : 0);
  for (int32_t y = 0; y < height; ++y) {
    if (watch.late()) return watch.late_error(name);
    if (!file.read_row(cmyk ? inks.data() : stored.image.row(y)))
      return damaged(fmt::format("in row {} of {}", y, height));
    if (cmyk) cmyk_to_rgb(inks.data(), width, stored.image.row(y));
  }
  return stored;
}

}  // namespace lapidary
