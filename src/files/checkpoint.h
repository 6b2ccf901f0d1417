// Checkpoint: what every loader returns. Named blocks of bytes in mapped files: name -> element type, shape, bytes.
// Nothing here knows what a tensor means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "quant/formats.h"

namespace lapidary {

struct TensorEntry {
  std::string name;
  std::string element;           // as the file spells it: "BF16", "F32", "I64"
  std::optional<Format> format;  // set when the elements are a weight format we can read
  std::vector<int64_t> shape;    // outermost first; empty for a scalar
  std::span<const std::byte> bytes;

  int64_t elements() const;
};

// "[4, 16]"
std::string shape_text(std::span<const int64_t> shape);

class Checkpoint {
 public:
  // nullptr when there is no such tensor.
  const TensorEntry* find(std::string_view name) const;
  std::span<const TensorEntry> tensors() const { return tensors_; }
  int64_t bytes() const { return bytes_; }

  // Takes over a file and the tensors that lie in it. Errors: kCorruptFile when a name is already taken.
  Result<void> add(MappedFile file, std::vector<TensorEntry> tensors);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::vector<MappedFile> files_;
  std::vector<TensorEntry> tensors_;
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> by_name_;
  int64_t bytes_ = 0;
};

}  // namespace lapidary
