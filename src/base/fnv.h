// FNV-1a, 64 bits (Fowler, Noll, Vo): names for things that nobody attacks. Never for what must not collide.
#pragma once

#include <cstdint>
#include <string_view>

namespace lapidary {

inline constexpr uint64_t kFnvBasis = 0xcbf29ce484222325;

// hash: of the text before, to go on from it.
constexpr uint64_t fnv1a(std::string_view text, uint64_t hash = kFnvBasis) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace lapidary
