// One folder whose files requests may name, and nothing outside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lapidary::server {

class MediaFolder {
 public:
  // Errors: kNotFound, kInvalidArgument when it is no folder.
  static Result<MediaFolder> open(const std::string& path);

  MediaFolder(MediaFolder&& other) noexcept;
  MediaFolder& operator=(MediaFolder&& other) noexcept;
  ~MediaFolder();

  // A regular file strictly below the folder, symbolic links resolved. path is relative to the folder, or absolute and
  // inside it. Errors: kNotFound, with one and the same message, for whatever is not there, not below, not a file or
  // not readable, so that nothing can be learnt of what lies elsewhere; kExhausted for a file below of more than
  // bytes_max.
  Result<std::string> read(std::string_view path, int64_t bytes_max) const;

 private:
  MediaFolder() = default;

  std::string given_;     // as it was configured, made absolute
  std::string resolved_;  // links resolved
  int fd_ = -1;
};

}  // namespace lapidary::server
