#include "media/exif.h"

#include <cstdint>
#include <cstring>

namespace lapidary {
namespace {

constexpr uint16_t kOrientationTag = 0x0112;
constexpr uint16_t kTypeShort = 3;
constexpr size_t kEntryBytes = 12;  // tag, type, count, value or offset

class TiffReader {
 public:
  TiffReader(std::span<const std::byte> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  bool has(size_t at, size_t count) const { return at <= bytes_.size() && count <= bytes_.size() - at; }
  uint16_t u16(size_t at) const {
    const unsigned first = byte(at), second = byte(at + 1);
    return static_cast<uint16_t>(big_endian_ ? first << 8 | second : second << 8 | first);
  }
  uint32_t u32(size_t at) const {
    const uint32_t first = u16(at), second = u16(at + 2);
    return big_endian_ ? first << 16 | second : second << 16 | first;
  }

 private:
  unsigned byte(size_t at) const { return std::to_integer<unsigned>(bytes_[at]); }

  std::span<const std::byte> bytes_;
  bool big_endian_;
};

}  // namespace

int exif_orientation(std::span<const std::byte> tiff) {
  if (tiff.size() >= 6 && std::memcmp(tiff.data(), "Exif\0\0", 6) == 0) tiff = tiff.subspan(6);
  if (tiff.size() < 8) return 1;
  const bool big_endian = std::memcmp(tiff.data(), "MM\0*", 4) == 0;
  if (!big_endian && std::memcmp(tiff.data(), "II*\0", 4) != 0) return 1;
  const TiffReader reader(tiff, big_endian);
  const size_t directory = reader.u32(4);
  if (!reader.has(directory, 2)) return 1;
  const size_t entries = reader.u16(directory);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (!reader.has(entry, kEntryBytes)) return 1;
    if (reader.u16(entry) != kOrientationTag) continue;
    // One SHORT is stored in the first two bytes of the value field, in the block's own byte order.
    const int value = reader.u16(entry + 2) == kTypeShort ? reader.u16(entry + 8) : 1;
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

}  // namespace lapidary
