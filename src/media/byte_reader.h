// Little-endian numbers out of a file in memory, each checked against its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace lapidary {

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t position() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }

  // false, and nothing is passed over, when there is less than that.
  bool skip(size_t count) {
    if (count > left()) return false;
    at_ += count;
    return true;
  }
  bool seek(size_t position) {
    if (position > bytes_.size()) return false;
    at_ = position;
    return true;
  }
  bool copy(uint8_t* to, size_t count) {
    if (count > left()) return false;
    std::memcpy(to, bytes_.data() + at_, count);
    at_ += count;
    return true;
  }

  // Absent at the end.
  std::optional<uint8_t> u8() { return number<uint8_t>(); }
  std::optional<uint16_t> u16() { return number<uint16_t>(); }
  std::optional<uint32_t> u32() { return number<uint32_t>(); }

 private:
  template <class T>
  std::optional<T> number() {
    if (sizeof(T) > left()) return std::nullopt;
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      value |= static_cast<T>(std::to_integer<uint32_t>(bytes_[at_ + i]) << (8 * i));
    at_ += sizeof(T);
    return value;
  }

  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

}  // namespace lapidary
