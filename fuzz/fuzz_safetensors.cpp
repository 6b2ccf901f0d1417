#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "files/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tensors = lapidary::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
  if (tensors) {
    size_t bytes = 0;
    for (const lapidary::TensorEntry& tensor : *tensors) bytes += tensor.bytes.size();
    CHECK(bytes <= size);  // no two tensors share bytes
  }
  return 0;
}
