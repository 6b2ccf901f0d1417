// GIF: the first frame on its canvas. Later frames are not looked at, however many there are.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "media/byte_reader.h"
#include "media/image_decoders.h"

namespace lapidary {
namespace {

constexpr int kCodeBitsMax = 12;
constexpr int kCodesBetweenLooks = 1 << 16;  // at the clock

using Palette = std::array<uint8_t, 768>;

// Without a palette indices are shades of grey, as in PIL.
Palette grey_palette() {
  Palette palette{};
  for (size_t i = 0; i < palette.size(); ++i) palette[i] = static_cast<uint8_t>(i / 3);
  return palette;
}

// Reads 2^(flags' low bits + 1) colours; those that it does not define are black.
bool read_palette(ByteReader& reader, uint8_t flags, Palette& palette) {
  palette = {};
  return reader.copy(palette.data(), 3u << ((flags & 7) + 1));
}

// Codes of a variable number of bits, low bits first, out of sub-blocks of at most 255 bytes.
class CodeReader {
 public:
  explicit CodeReader(ByteReader& reader) : reader_(reader) {}

  // The next code of so many bits; -1 when the blocks or the file end.
  int next(int bits) {
    while (have_ < bits) {
      if (block_left_ == 0) {
        block_left_ = reader_.u8().value_or(0);
        if (block_left_ == 0) return -1;
      }
      const std::optional<uint8_t> byte = reader_.u8();
      if (!byte) return -1;
      --block_left_;
      pool_ |= static_cast<uint32_t>(*byte) << have_;
      have_ += 8;
    }
    const int code = static_cast<int>(pool_ & ((1u << bits) - 1));
    pool_ >>= bits;
    have_ -= bits;
    return code;
  }

 private:
  ByteReader& reader_;
  int block_left_ = 0, have_ = 0;
  uint32_t pool_ = 0;  // at most 7 + 8 + 4 bits at a time
};

// LZW codes -> indices of colours, in the order of the file. false when they end early or do not make sense, and when
// time is up.
bool unpack(ByteReader& reader, std::span<uint8_t> out, const DecodeWatch& watch) {
  const int literal_bits = reader.u8().value_or(0);
  if (literal_bits < 1 || literal_bits > 8) return false;
  const int clear = 1 << literal_bits, end = clear + 1;
  struct Entry {
    uint16_t prefix;
    uint8_t last;
  };
  std::array<Entry, 1 << kCodeBitsMax> entries;
  std::array<uint8_t, (1 << kCodeBitsMax) + 1> reversed;  // the text of one code, its last index first
  CodeReader codes(reader);
  int bits = literal_bits + 1, next = end + 1, previous = -1;
  uint8_t first = 0;  // index of the previous code's text
  int looks = 0;
  for (size_t done = 0; done < out.size();) {
    // Codes that only clear the table yield nothing, so it is codes that are counted.
    if (looks++ % kCodesBetweenLooks == 0 && watch.late()) return false;
    const int code = codes.next(bits);
    if (code < 0 || code == end) return false;
    if (code == clear) {
      bits = literal_bits + 1;
      next = end + 1;
      previous = -1;
      continue;
    }
    if (code > next || (code == next && previous < 0) || (previous < 0 && code >= clear)) return false;
    size_t length = 0;
    int walk = code;
    if (code == next) {  // the text of the previous code and its own first index
      reversed[length++] = first;
      walk = previous;
    }
    for (; walk >= clear; walk = entries[static_cast<size_t>(walk)].prefix) {
      reversed[length++] = entries[static_cast<size_t>(walk)].last;
    }
    first = static_cast<uint8_t>(walk);
    reversed[length++] = first;
    const size_t take = std::min(length, out.size() - done);
    for (size_t i = 0; i < take; ++i) out[done++] = reversed[length - 1 - i];
    if (previous >= 0 && next < (1 << kCodeBitsMax)) {
      entries[static_cast<size_t>(next)] = {static_cast<uint16_t>(previous), first};
      ++next;
      if (next == (1 << bits) && bits < kCodeBitsMax) ++bits;
    }
    previous = code;
  }
  return true;
}

struct Frame {
  int32_t left = 0, top = 0, width = 0, height = 0;
  bool interlaced = false;
};

// Which row of the picture stands at each place of the file.
std::vector<int32_t> row_order(const Frame& frame) {
  std::vector<int32_t> rows;
  rows.reserve(static_cast<size_t>(frame.height));
  if (!frame.interlaced) {
    for (int32_t y = 0; y < frame.height; ++y) rows.push_back(y);
    return rows;
  }
  constexpr struct { int32_t first, step; } kPasses[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  for (const auto& pass : kPasses) {
    for (int32_t y = pass.first; y < frame.height; y += pass.step) rows.push_back(y);
  }
  return rows;
}

class GifReader {
 public:
  GifReader(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch)
      : name_(name), bytes_(bytes), watch_(watch), reader_(bytes) {}

  Result<StoredImage> read() {
    reader_.skip(6);  // GIF87a or GIF89a
    const std::optional<uint16_t> width = reader_.u16(), height = reader_.u16();
    const std::optional<uint8_t> flags = reader_.u8();
    if (!flags || !reader_.skip(2)) return damaged("header");
    width_ = *width;
    height_ = *height;
    palette_ = grey_palette();
    if ((*flags & 0x80) != 0 && !read_palette(reader_, *flags, palette_)) return damaged("palette");
    while (true) {
      switch (reader_.u8().value_or(0x3b)) {
        case 0x21:
          if (!read_extension()) return damaged("extension");
          break;
        case 0x2c:
          return read_frame();
        case 0x3b:
          return damaged("file without a picture");
        default:
          break;  // padding between blocks
      }
    }
  }

 private:
  Error damaged(std::string_view part) const {
    return {ErrorCode::kCorruptFile,
            fmt::format("{}: damaged or truncated GIF of {} bytes ({})", name_, bytes_.size(), part)};
  }

  bool read_extension() {
    const std::optional<uint8_t> label = reader_.u8();
    for (bool first = true;; first = false) {
      const std::optional<uint8_t> size = reader_.u8();
      if (!label || !size) return false;
      if (*size == 0) return true;
      std::array<uint8_t, 255> block{};
      if (!reader_.copy(block.data(), *size)) return false;
      if (*label == 0xf9 && first && *size >= 4 && (block[0] & 1) != 0) transparent_ = block[3];
    }
  }

  Result<StoredImage> read_frame() {
    Frame frame;
    for (int32_t* value : {&frame.left, &frame.top, &frame.width, &frame.height}) *value = reader_.u16().value_or(0);
    const std::optional<uint8_t> flags = reader_.u8();
    if (!flags) return damaged("frame header");
    frame.interlaced = (*flags & 0x40) != 0;
    if ((*flags & 0x80) != 0 && !read_palette(reader_, *flags, palette_)) return damaged("palette of a frame");
    // A frame that reaches beyond the canvas makes it larger.
    width_ = std::max(width_, int64_t{frame.left} + frame.width);
    height_ = std::max(height_, int64_t{frame.top} + frame.height);
    RETURN_IF_ERROR(check_image_size(frame.width, frame.height, name_));
    StoredImage stored;
    ASSIGN_OR_RETURN(stored.image, make_canvas(width_, height_, name_, watch_));
    std::vector<uint8_t> indices(static_cast<size_t>(frame.width) * static_cast<size_t>(frame.height));
    if (!unpack(reader_, indices, watch_)) return watch_.late() ? watch_.late_error(name_) : damaged("first frame");
    paint(frame, indices, stored.image);
    return stored;
  }

  void paint(const Frame& frame, std::span<const uint8_t> indices, Image& canvas) const {
    // Alpha is dropped: what is transparent, or not covered, has the transparent index's colour, else the first one's.
    const uint8_t* ground = palette_.data() + static_cast<size_t>(transparent_) * 3;
    if (frame.width != canvas.width || frame.height != canvas.height) {
      for (size_t i = 0; i < canvas.pixels.size(); i += 3) std::memcpy(&canvas.pixels[i], ground, 3);
    }
    const std::vector<int32_t> rows = row_order(frame);
    for (size_t i = 0; i < rows.size(); ++i) {
      const uint8_t* from = indices.data() + i * static_cast<size_t>(frame.width);
      uint8_t* to = canvas.row(frame.top + rows[i]) + static_cast<size_t>(frame.left) * 3;
      for (int32_t x = 0; x < frame.width; ++x, to += 3) std::memcpy(to, palette_.data() + size_t{from[x]} * 3, 3);
    }
  }

  std::string_view name_;
  std::span<const std::byte> bytes_;
  const DecodeWatch& watch_;
  ByteReader reader_;
  int64_t width_ = 0, height_ = 0;
  Palette palette_{};
  uint8_t transparent_ = 0;
};

}  // namespace

Result<StoredImage> decode_gif(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch) {
  return GifReader(bytes, name, watch).read();
}

}  // namespace lapidary
