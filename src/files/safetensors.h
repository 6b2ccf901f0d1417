// The safetensors container: a little-endian u64 header length, a JSON header, then the tensors' bytes without gaps.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"

namespace lapidary {

// The tensors of a whole file in memory; their bytes point into `file`. source names it in messages. Errors:
// kCorruptFile for a header that is cut, not JSON, or does not describe exactly the bytes that follow it.
Result<std::vector<TensorEntry>> parse_safetensors(std::span<const std::byte> file, std::string_view source);

}  // namespace lapidary
