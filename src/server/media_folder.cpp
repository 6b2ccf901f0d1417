#include "server/media_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace lapidary::server {
namespace {

// O_NONBLOCK: opening a FIFO must not hang. O_NOCTTY: nor make a terminal ours.
constexpr int kFileFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW;
constexpr size_t kFirstReadBytes = 64 << 10;

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Error not_found() { return {ErrorCode::kNotFound, "expected a file below the media folder, found none"}; }

std::string resolved(const std::string& path) {
  char buffer[PATH_MAX];
  return ::realpath(path.c_str(), buffer) != nullptr ? std::string(buffer) : std::string();
}

// What remains of path below folder; empty when it is not strictly below.
std::string_view below(std::string_view path, std::string_view folder) {
  while (folder.ends_with('/')) folder.remove_suffix(1);
  if (!path.starts_with(folder) || !path.substr(folder.size()).starts_with('/')) return {};
  path.remove_prefix(folder.size());
  return path.substr(std::min(path.find_first_not_of('/'), path.size()));
}

// For kernels and sandboxes without openat2: every part is opened below the one before, and none may be a link.
int open_step_by_step(int folder, const std::string& path) {
  Descriptor at{::fcntl(folder, F_DUPFD_CLOEXEC, 0)};
  for (size_t begin = 0; at.fd >= 0;) {
    const size_t slash = path.find('/', begin);
    const std::string part = path.substr(begin, slash == std::string::npos ? slash : slash - begin);
    if (part.empty() || part == "." || part == "..") return -1;
    if (slash == std::string::npos) return ::openat(at.fd, part.c_str(), kFileFlags);
    Descriptor next{::openat(at.fd, part.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
    std::swap(at.fd, next.fd);
    begin = slash + 1;
  }
  return -1;
}

// path has no links and no dots left; should somebody put one there meanwhile, it is refused.
int open_below(int folder, const std::string& path) {
  struct open_how how {};
  how.flags = kFileFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof(how));
  if (fd >= 0) return static_cast<int>(fd);
  return errno == ENOSYS || errno == EPERM ? open_step_by_step(folder, path) : -1;
}

// The file may grow while it is read.
Result<std::string> read_all(int fd, int64_t size, int64_t bytes_max) {
  const Error too_large{ErrorCode::kExhausted, fmt::format("expected at most {} bytes, found more", bytes_max)};
  if (size > bytes_max) return too_large;
  std::string bytes(static_cast<size_t>(size) + 1, '\0');
  size_t done = 0;
  while (true) {
    if (done == bytes.size()) {
      if (std::ssize(bytes) > bytes_max) return too_large;
      bytes.resize(
          std::min(bytes.size() + std::max(bytes.size() / 2, kFirstReadBytes), static_cast<size_t>(bytes_max) + 1));
    }
    const ssize_t got = ::read(fd, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return not_found();
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  if (static_cast<int64_t>(done) > bytes_max) return too_large;
  bytes.resize(done);
  return bytes;
}

}  // namespace

Result<MediaFolder> MediaFolder::open(const std::string& path) {
  MediaFolder folder;
  folder.resolved_ = resolved(path);
  folder.fd_ = folder.resolved_.empty() ? -1 : ::open(folder.resolved_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder.fd_ < 0) {
    const bool missing = folder.resolved_.empty();
    return Error{missing ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
                 fmt::format("{}: expected a folder of media: {}", path, std::strerror(errno))};
  }
  std::error_code ignored;
  folder.given_ = std::filesystem::absolute(path, ignored).lexically_normal().string();
  return folder;
}

MediaFolder::MediaFolder(MediaFolder&& other) noexcept { *this = std::move(other); }

MediaFolder& MediaFolder::operator=(MediaFolder&& other) noexcept {
  std::swap(given_, other.given_);
  std::swap(resolved_, other.resolved_);
  std::swap(fd_, other.fd_);
  return *this;
}

MediaFolder::~MediaFolder() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> MediaFolder::read(std::string_view path, int64_t bytes_max) const {
  if (path.empty() || path.size() >= PATH_MAX || path.find('\0') != std::string_view::npos) return not_found();
  if (path.starts_with('/')) {
    // An absolute path has to begin with the folder as it was given, or as it is called without links; what lies
    // elsewhere is not even looked at.
    const std::string_view rest = below(path, given_);
    path = rest.empty() ? below(path, resolved_) : rest;
    if (path.empty()) return not_found();
  }
  if (("/" + std::string(path) + "/").find("/../") != std::string::npos) return not_found();
  const std::string real = resolved(resolved_ + "/" + std::string(path));
  const std::string rest(below(real, resolved_));
  if (rest.empty()) return not_found();
  const Descriptor file{open_below(fd_, rest)};
  struct stat info {};
  if (file.fd < 0 || ::fstat(file.fd, &info) != 0 || !S_ISREG(info.st_mode)) return not_found();
  return read_all(file.fd, info.st_size, bytes_max);
}

}  // namespace lapidary::server
