// Where pictures, sound and video of a request come from: inline bytes, files beneath one folder, allowed hosts. The
// only place that opens a file or a connection on behalf of a request.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/base64.h"  // decode_base64
#include "chat/messages.h"
#include "media/sniff.h"  // sniff_media: what the bytes are
#include "server/api_error.h"

namespace lapidary::server {

struct MediaPolicy {
  std::string media_path;               // empty: file:// is refused
  std::vector<std::string> allow_urls;  // HOST[:PORT], an IP address, or *.HOST; empty: http(s):// is refused
  int64_t image_bytes_max = 32LL << 20, audio_bytes_max = 64LL << 20, video_bytes_max = 256LL << 20;
  int32_t connect_seconds = 5, total_seconds = 30, redirects_max = 3, parallel_max = 32;
};

// Errors: kNotFound or kInvalidArgument for a media_path that is no folder, or for what allow_urls cannot mean.
Result<void> check_media_policy(const MediaPolicy& policy);

class MediaSource {
 public:
  // What check_media_policy refuses gives no files and no fetches.
  explicit MediaSource(MediaPolicy policy);
  ~MediaSource();

  // The bytes behind what a request wrote: a data URL (whatever media type it claims), http(s)://, file://, or raw
  // base64 when allow_base64. kind bounds the size. param names the field in errors. Blocks for as long as a fetch
  // takes, until `cancelled` is set. Inline bytes and files may be anything; what was fetched has to look like its kind
  // (sound may come in a video's container), and like no text. Errors: invalid_image / invalid_audio / invalid_video
  // for bad base64 and for nothing at all (invalid_value for kText), media_url_not_allowed, failed_to_download_media,
  // kTooLarge. None of them repeats a byte of what was read.
  ApiResult<std::string> load(std::string_view url, PartKind kind, std::string_view param, bool allow_base64,
                              const std::atomic<bool>& cancelled) const;

  const MediaPolicy& policy() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary::server
