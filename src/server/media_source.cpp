#include "server/media_source.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "http/url_fetch.h"
#include "server/data_url.h"
#include "server/media_folder.h"
#include "server/url_text.h"

namespace lapidary::server {
namespace {

struct KindRow {
  const char* name;
  const char* code;
};

// In the order of PartKind.
constexpr KindRow kKinds[] = {{"a file", "invalid_value"},
                              {"a picture", "invalid_image"},
                              {"sound", "invalid_audio"},
                              {"a video", "invalid_video"}};
const KindRow& row_of(PartKind kind) { return kKinds[static_cast<size_t>(kind)]; }

// Whether a server's answer may be taken for that kind. Its text never is: it could be a page of an internal network.
bool looks_like(PartKind kind, SniffedMedia media) {
  switch (kind) {
    case PartKind::kImage:
      return media == SniffedMedia::kImage;
    case PartKind::kAudio:
      return media == SniffedMedia::kAudio || media == SniffedMedia::kVideo;
    case PartKind::kVideo:
      return media == SniffedMedia::kVideo || media == SniffedMedia::kImage;  // an animation
    case PartKind::kText:
      return media != SniffedMedia::kText && media != SniffedMedia::kUnknown;
  }
  return false;
}

}  // namespace

struct MediaSource::Impl {
  MediaPolicy policy;
  std::optional<MediaFolder> folder;
  std::unique_ptr<UrlFetcher> fetcher;

  int64_t bytes_max(PartKind kind) const {
    return kind == PartKind::kVideo   ? policy.video_bytes_max
           : kind == PartKind::kAudio ? policy.audio_bytes_max
                                      : policy.image_bytes_max;
  }
};

namespace {

// One load: what it is for, and how its errors are worded.
struct Wanted {
  PartKind kind;
  std::string_view param;
  int64_t bytes_max;

  ApiError too_large() const {
    return {ErrorKind::kTooLarge, "",
            fmt::format("{}: expected {} of at most {} bytes, found more", param, row_of(kind).name, bytes_max),
            std::string(param)};
  }
  ApiError error(std::string code, std::string_view message) const {
    return bad_request(std::move(code), std::string(param), fmt::format("{}: {}", param, message));
  }
  ApiError invalid(std::string_view message) const { return error(row_of(kind).code, message); }
  // An error of ours, kExhausted being the size.
  ApiError of(const Error& e, const char* code) const {
    return e.code == ErrorCode::kExhausted ? too_large() : error(code, e.message);
  }
};

ApiResult<std::string> inline_bytes(Result<std::string> bytes, const Wanted& wanted) {
  if (!bytes) return wanted.of(bytes.error(), row_of(wanted.kind).code);
  if (bytes->empty()) return wanted.invalid(fmt::format("expected {}, found no bytes", row_of(wanted.kind).name));
  return std::move(bytes).value();
}

ApiResult<std::string> file_bytes(const std::optional<MediaFolder>& folder, bool configured, std::string_view url,
                                  const Wanted& wanted) {
  if (!configured) {
    return wanted.error("media_url_not_allowed", "file:// is refused: the server was started without --media-path");
  }
  // file:///a/b and file://localhost/a/b are absolute, file://a/b is relative to the folder.
  std::string_view path = url.substr(url.find(':') + 1);
  if (path.starts_with("//")) path.remove_prefix(2);
  constexpr std::string_view kLocalhost = "localhost/";
  if (has_prefix_ignoring_case(path, kLocalhost)) path.remove_prefix(kLocalhost.size() - 1);
  const Error nowhere{ErrorCode::kNotFound, "expected a file below the media folder, found none"};
  Result<std::string> bytes = folder ? folder->read(percent_decoded(path), wanted.bytes_max) : nowhere;
  if (!bytes) return wanted.of(bytes.error(), "media_url_not_allowed");
  if (bytes->empty()) return wanted.invalid(fmt::format("expected {}, found an empty file", row_of(wanted.kind).name));
  return std::move(bytes).value();
}

ApiResult<std::string> fetched_bytes(const UrlFetcher* fetcher, std::string_view url, const Wanted& wanted,
                                     const std::atomic<bool>& cancelled) {
  if (!fetcher) {
    return wanted.error("media_url_not_allowed",
                        "http:// and https:// are refused: the server was started without --allow-url");
  }
  Result<FetchedBody> body = fetcher->fetch(url, wanted.bytes_max, cancelled);
  if (!body) {
    const bool refused = body.error().code == ErrorCode::kUnsupported;
    return wanted.of(body.error(), refused ? "media_url_not_allowed" : "failed_to_download_media");
  }
  if (!looks_like(wanted.kind, sniff_media(body->bytes))) {
    return wanted.error(
        "failed_to_download_media",
        fmt::format("expected {}, found an answer that does not look like it", row_of(wanted.kind).name));
  }
  return std::move(body->bytes);
}

FetchPolicy fetch_policy(const MediaPolicy& policy) {
  return {policy.allow_urls,    policy.connect_seconds, policy.total_seconds,
          policy.redirects_max, policy.parallel_max,    {}};
}

}  // namespace

Result<void> check_media_policy(const MediaPolicy& policy) {
  if (!policy.media_path.empty()) RETURN_IF_ERROR(MediaFolder::open(policy.media_path));
  RETURN_IF_ERROR(UrlFetcher::make(fetch_policy(policy)));
  return {};
}

MediaSource::MediaSource(MediaPolicy policy) : impl_(std::make_unique<Impl>()) {
  impl_->policy = std::move(policy);
  const MediaPolicy& p = impl_->policy;
  if (!p.media_path.empty()) {
    if (Result<MediaFolder> folder = MediaFolder::open(p.media_path)) impl_->folder = std::move(folder).value();
  }
  if (!p.allow_urls.empty()) {
    if (Result<std::unique_ptr<UrlFetcher>> fetcher = UrlFetcher::make(fetch_policy(p))) {
      impl_->fetcher = std::move(fetcher).value();
    }
  }
}

MediaSource::~MediaSource() = default;

const MediaPolicy& MediaSource::policy() const { return impl_->policy; }

ApiResult<std::string> MediaSource::load(std::string_view url, PartKind kind, std::string_view param, bool allow_base64,
                                         const std::atomic<bool>& cancelled) const {
  const Wanted wanted{kind, param, impl_->bytes_max(kind)};
  url = trimmed(url);
  const std::string_view scheme = url_scheme(url);
  if (equals_ignoring_case(scheme, "data")) return inline_bytes(decode_data_url(url, wanted.bytes_max), wanted);
  if (equals_ignoring_case(scheme, "file")) {
    return file_bytes(impl_->folder, !impl_->policy.media_path.empty(), url, wanted);
  }
  if (equals_ignoring_case(scheme, "http") || equals_ignoring_case(scheme, "https")) {
    return fetched_bytes(impl_->fetcher.get(), url, wanted, cancelled);
  }
  constexpr std::string_view kExpected = "expected a data:, http(s):// or file:// URL";
  if (!scheme.empty()) {
    return wanted.error("media_url_not_allowed", fmt::format("{}, found {}:", kExpected, scheme));
  }
  if (!allow_base64) return wanted.invalid(fmt::format("{}, found {} bytes without a scheme", kExpected, url.size()));
  return inline_bytes(decode_bare_base64(url, wanted.bytes_max), wanted);
}

}  // namespace lapidary::server
