// Counter-based randomness: a value depends on its key and nothing else, so a sampled answer does not depend on who
// shares the batch, how a prompt was cut, or what was drafted.
#pragma once

#include <cstdint>

namespace lapidary {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits that passes BigCrush as a counter's
// hash.
constexpr uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

constexpr uint64_t hash_counter(uint64_t seed, uint64_t a, uint64_t b) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ull;
  return mix64(mix64(mix64(seed + kGolden) + (a + 1) * kGolden) + (b + 1) * kGolden);
}

// Uniform in (0, 1), never 0 or 1: (k + 1/2) / 2^53.
constexpr double uniform_open(uint64_t seed, uint64_t a, uint64_t b) {
  return (static_cast<double>(hash_counter(seed, a, b) >> 11) + 0.5) * 0x1p-53;
}

}  // namespace lapidary
