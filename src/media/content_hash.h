// A hash that names media content: equal inputs share their encoded rows and their cached prefixes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/rng.h"

namespace lapidary {

// 64 bits over words and runs of bytes, every bit of the result depending on every bit of the input. Not a defence
// against somebody who searches for collisions.
class ContentHash {
 public:
  void add(uint64_t word) {
    state_ = mix64(state_ ^ (word + kStep));
    state_ += kStep;
  }
  void add(std::span<const std::byte> bytes) {
    add(static_cast<uint64_t>(bytes.size()));
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t))
      add(load(bytes.data() + at, sizeof(uint64_t)));
    if (at < bytes.size()) add(load(bytes.data() + at, bytes.size() - at));
  }
  uint64_t value() const { return mix64(state_); }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15ull;  // 2^64 / golden ratio

  static uint64_t load(const std::byte* from, size_t count) {
    uint64_t word = 0;
    std::memcpy(&word, from, count);
    return word;
  }

  uint64_t state_ = kStep;
};

}  // namespace lapidary
