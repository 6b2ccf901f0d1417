// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace lapidary {

class MappedFile {
 public:
  // Errors: kNotFound when it cannot be opened, kInvalidArgument when it is not a regular file.
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;

  void* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
};

// A whole small file. Errors: kNotFound, or kInvalidArgument when it is larger than bytes_max.
Result<std::string> read_file(const std::filesystem::path& path, int64_t bytes_max);

}  // namespace lapidary
