#include "http/text.h"

#include <algorithm>

#include "base/utf8.h"

namespace lapidary {

std::string shown(std::string_view text) {
  constexpr size_t kBytesMax = 100;
  std::string repaired = utf8_repair(text.substr(0, kBytesMax));
  repaired.resize(utf8_floor(repaired, std::min(repaired.size(), kBytesMax)));
  return repaired;
}

}  // namespace lapidary
