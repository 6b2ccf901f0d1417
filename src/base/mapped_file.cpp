#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace lapidary {
namespace {

// A descriptor that is closed on every way out.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// Opens a regular file and reports its size. O_NONBLOCK: opening a FIFO must not hang; it is refused below.
Result<int64_t> open_regular(const std::filesystem::path& path, Descriptor& file) {
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd < 0) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno))};
  }
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: {}", path.string(), std::strerror(errno))};
  }
  if (!S_ISREG(info.st_mode)) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("{}: expected a file, found {}", path.string(),
                                                          S_ISDIR(info.st_mode) ? "a directory" : "something else")};
  }
  return static_cast<int64_t>(info.st_size);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  Descriptor file;
  ASSIGN_OR_RETURN(const int64_t size, open_regular(path, file));
  MappedFile mapped;
  mapped.path_ = path;
  mapped.size_ = static_cast<size_t>(size);
  if (size > 0) {
    void* data = ::mmap(nullptr, mapped.size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (data == MAP_FAILED) {
      return Error{ErrorCode::kExhausted,
                   fmt::format("{}: cannot be mapped ({} bytes): {}", path.string(), size, std::strerror(errno))};
    }
    mapped.data_ = data;
  }
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<std::string> read_file(const std::filesystem::path& path, int64_t bytes_max) {
  Descriptor file;
  ASSIGN_OR_RETURN(const int64_t size, open_regular(path, file));
  if (size > bytes_max) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: expected at most {} bytes, found {}", path.string(), bytes_max, size)};
  }
  std::string text(static_cast<size_t>(size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::read(file.fd, text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return Error{ErrorCode::kNotFound, fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno))};
    if (got == 0) break;  // the file shrank while it was read
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

}  // namespace lapidary
