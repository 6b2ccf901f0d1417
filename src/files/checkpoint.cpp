#include "files/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lapidary {

int64_t TensorEntry::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

std::string shape_text(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

const TensorEntry* Checkpoint::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

Result<void> Checkpoint::add(MappedFile file, std::vector<TensorEntry> tensors) {
  for (const TensorEntry& tensor : tensors) {
    if (find(tensor.name) != nullptr) {
      return Error{ErrorCode::kCorruptFile, fmt::format("{}: tensor {} is already in another file of this model",
                                                        file.path().string(), tensor.name)};
    }
  }
  for (TensorEntry& tensor : tensors) {
    by_name_.emplace(tensor.name, tensors_.size());
    bytes_ += static_cast<int64_t>(tensor.bytes.size());
    tensors_.push_back(std::move(tensor));
  }
  files_.push_back(std::move(file));
  return {};
}

}  // namespace lapidary
