// Builds safetensors files in memory for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace lapidary::testing {

inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + data;
}

}  // namespace lapidary::testing
