// BMP: 1 to 32 bits per pixel, run-length encoded ones, with or without masks, upside down or not.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "media/byte_reader.h"
#include "media/image_decoders.h"

namespace lapidary {
namespace {

constexpr int kRunsBetweenLooks = 1 << 16;  // at the clock

enum Compression : uint32_t { kPlain = 0, kRle8 = 1, kRle4 = 2, kMasks = 3, kMasksWithAlpha = 6 };

struct Header {
  uint32_t pixels_at = 0;  // byte of the file
  uint32_t header_bytes = 0;
  int64_t width = 0, height = 0;
  bool top_down = false;
  uint32_t bits = 0, compression = kPlain, colors = 0;
  std::array<uint32_t, 3> masks{};  // red, green, blue
};

// One colour out of a pixel of 16, 24 or 32 bits, widened to eight.
struct Channel {
  uint32_t mask = 0;
  int shift = 0;

  explicit Channel(uint32_t bits) : mask(bits), shift(bits == 0 ? 0 : std::countr_zero(bits)) {}
  uint8_t of(uint32_t pixel) const {
    const uint64_t most = mask >> shift;
    return most == 0 ? 0 : static_cast<uint8_t>(uint64_t{(pixel & mask) >> shift} * 255 / most);
  }
};

class BmpReader {
 public:
  BmpReader(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch)
      : name_(name), bytes_(bytes), watch_(watch), reader_(bytes) {}

  Result<StoredImage> read() {
    RETURN_IF_ERROR(read_header());
    RETURN_IF_ERROR(check_image_size(header_.width, header_.height, name_));
    const bool packed = header_.compression == kRle8 || header_.compression == kRle4;
    if (!packed && row_bytes() * header_.height > std::ssize(bytes_) - int64_t{header_.pixels_at})
      return damaged("pixels");
    StoredImage stored;
    ASSIGN_OR_RETURN(stored.image, make_canvas(header_.width, header_.height, name_, watch_));
    if (header_.bits <= 8 && !read_palette()) return damaged("palette");
    if (!reader_.seek(header_.pixels_at)) return damaged("pixels");
    if (packed) {
      std::vector<uint8_t> indices(static_cast<size_t>(header_.width * header_.height));
      if (!unpack(indices)) return watch_.late() ? watch_.late_error(name_) : damaged("pixels");
      for (int32_t y = 0; y < stored.image.height; ++y) {
        uint8_t* to = row_of(stored.image, y);
        const uint8_t* from = indices.data() + static_cast<size_t>(y) * static_cast<size_t>(header_.width);
        for (int32_t x = 0; x < stored.image.width; ++x, to += 3) look_up(from[x], to);
      }
    } else {
      for (int32_t y = 0; y < stored.image.height; ++y) {
        if (watch_.late()) return watch_.late_error(name_);
        read_row(row_of(stored.image, y));
      }
    }
    return stored;
  }

 private:
  Error damaged(std::string_view part) const {
    return {ErrorCode::kCorruptFile,
            fmt::format("{}: damaged or truncated BMP of {} bytes ({})", name_, bytes_.size(), part)};
  }
  Error unsupported(std::string what) const { return {ErrorCode::kUnsupported, fmt::format("{}: {}", name_, what)}; }

  int64_t row_bytes() const { return (header_.width * header_.bits + 31) / 32 * 4; }
  // y counts rows of the file.
  uint8_t* row_of(Image& image, int32_t y) const { return image.row(header_.top_down ? y : image.height - 1 - y); }

  Result<void> read_header() {
    reader_.seek(10);
    header_.pixels_at = reader_.u32().value_or(0);
    header_.header_bytes = reader_.u32().value_or(0);
    const bool old = header_.header_bytes == 12;
    if (!old && (header_.header_bytes < 40 || header_.header_bytes > 4096)) return damaged("header");
    const int64_t width = old ? reader_.u16().value_or(0) : static_cast<int32_t>(reader_.u32().value_or(0));
    const int64_t height = old ? reader_.u16().value_or(0) : static_cast<int32_t>(reader_.u32().value_or(0));
    header_.width = width;
    header_.top_down = height < 0;
    header_.height = height < 0 ? -height : height;
    reader_.skip(2);  // planes
    header_.bits = reader_.u16().value_or(0);
    if (!old) {
      header_.compression = reader_.u32().value_or(0);
      reader_.skip(12);  // bytes of the pixels, resolution
      header_.colors = reader_.u32().value_or(0);
      if (!reader_.skip(4)) return damaged("header");
    }
    if (header_.pixels_at > bytes_.size()) return damaged("header");
    return check_kind();
  }

  Result<void> check_kind() {
    const uint32_t bits = header_.bits;
    constexpr std::array kBits = {1u, 4u, 8u, 16u, 24u, 32u};
    if (std::find(kBits.begin(), kBits.end(), bits) == kBits.end()) {
      return unsupported(fmt::format("expected a BMP of 1, 4, 8, 16, 24 or 32 bits per pixel, found {}", bits));
    }
    const bool masks = header_.compression == kMasks || header_.compression == kMasksWithAlpha;
    const bool fits = header_.compression == kPlain || (header_.compression == kRle8 && bits == 8) ||
                      (header_.compression == kRle4 && bits == 4) || (masks && bits >= 16);
    if (!fits) {
      return unsupported(
          fmt::format("expected a BMP whose pixels are plain, run-length encoded or masked, found "
                      "compression {} with {} bits per pixel",
                      header_.compression, bits));
    }
    if (masks) {  // behind the header of 40 bytes, inside the longer ones: the same place
      for (uint32_t& mask : header_.masks) mask = reader_.u32().value_or(0);
      const auto& [red, green, blue] = header_.masks;
      if ((red & green) != 0 || (red & blue) != 0 || (green & blue) != 0) return damaged("masks that overlap");
    } else if (bits == 16) {
      header_.masks = {0x7c00, 0x03e0, 0x001f};
    } else {
      header_.masks = {0xff0000, 0x00ff00, 0x0000ff};
    }
    return {};
  }

  bool read_palette() {
    const size_t most = size_t{1} << header_.bits;
    const size_t colors = header_.colors == 0 ? most : std::min<size_t>(header_.colors, most);
    const size_t entry_bytes = header_.header_bytes == 12 ? 3 : 4;
    if (!reader_.seek(size_t{14} + header_.header_bytes)) return false;
    for (size_t i = 0; i < colors; ++i) {
      std::array<uint8_t, 4> entry{};
      if (!reader_.copy(entry.data(), entry_bytes)) return false;
      palette_[i] = {entry[2], entry[1], entry[0]};
    }
    return true;
  }

  void look_up(uint8_t index, uint8_t* to) const { std::copy(palette_[index].begin(), palette_[index].end(), to); }

  // The caller has seen that all rows are there.
  void read_row(uint8_t* to) {
    const size_t position = reader_.position();
    const auto* row = reinterpret_cast<const uint8_t*>(bytes_.data()) + position;
    const Channel red(header_.masks[0]), green(header_.masks[1]), blue(header_.masks[2]);
    for (int64_t x = 0; x < header_.width; ++x, to += 3) {
      if (header_.bits <= 8) {
        const int64_t bit = x * header_.bits;
        look_up(static_cast<uint8_t>(row[bit / 8] >> (8 - header_.bits - bit % 8) & ((1 << header_.bits) - 1)), to);
        continue;
      }
      uint32_t pixel = 0;
      for (uint32_t i = 0; i < header_.bits / 8; ++i) pixel |= uint32_t{row[x * (header_.bits / 8) + i]} << (8 * i);
      to[0] = red.of(pixel);
      to[1] = green.of(pixel);
      to[2] = blue.of(pixel);
    }
    reader_.seek(position + static_cast<size_t>(row_bytes()));
  }

  // Runs -> indices, rows as in the file. What the runs leave out is colour 0. false when they end before the end mark,
  // and when time is up.
  bool unpack(std::vector<uint8_t>& indices) {
    const bool nibbles = header_.compression == kRle4;
    int64_t x = 0, y = 0;
    const auto put = [&](uint8_t index) {
      if (x < header_.width && y < header_.height) indices[static_cast<size_t>(y * header_.width + x)] = index;
      ++x;
    };
    for (int runs = 0; y < header_.height; ++runs) {
      if (runs % kRunsBetweenLooks == 0 && watch_.late()) return false;
      const std::optional<uint8_t> count = reader_.u8(), value = reader_.u8();
      if (!value) return false;
      if (*count > 0) {
        for (int i = 0; i < *count; ++i) {
          put(!nibbles ? *value : static_cast<uint8_t>(i % 2 == 0 ? *value >> 4 : *value & 15));
        }
      } else if (*value == 0) {
        x = 0;
        ++y;
      } else if (*value == 1) {
        return true;
      } else if (*value == 2) {
        const std::optional<uint8_t> right = reader_.u8(), up = reader_.u8();
        if (!up) return false;
        x += *right;
        y += *up;
      } else {
        const int bytes = nibbles ? (*value + 1) / 2 : *value;
        for (int i = 0; i < bytes; ++i) {
          const std::optional<uint8_t> byte = reader_.u8();
          if (!byte) return false;
          put(nibbles ? *byte >> 4 : *byte);
          if (nibbles && 2 * i + 1 < *value) put(*byte & 15);
        }
        if (bytes % 2 != 0 && !reader_.skip(1)) return false;
      }
    }
    return true;
  }

  std::string_view name_;
  std::span<const std::byte> bytes_;
  const DecodeWatch& watch_;
  ByteReader reader_;
  Header header_;
  std::array<std::array<uint8_t, 3>, 256> palette_{};  // red, green, blue; colours that are not given are black
};

}  // namespace

Result<StoredImage> decode_bmp(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch) {
  return BmpReader(bytes, name, watch).read();
}

}  // namespace lapidary
