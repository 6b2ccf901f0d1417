// WebP through libwebp: lossy and lossless, still pictures and the first frame of animations.
#include <fmt/format.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <cstring>

#include "media/exif.h"
#include "media/image_decoders.h"

namespace lapidary {
namespace {

constexpr size_t kRiffHeaderBytes = 12;  // "RIFF", size, "WEBP"
constexpr size_t kChunkHeaderBytes = 8;  // name, size
// libwebp is shown the file in so many steps, or of at least so many bytes. Each step may begin anew with the header of
// a lossless picture, so their number is bounded.
constexpr size_t kStepsMax = 64, kStepBytesMin = 16 << 10;

const uint8_t* data_of(std::span<const std::byte> bytes) { return reinterpret_cast<const uint8_t*>(bytes.data()); }

int orientation_of(std::span<const std::byte> bytes) {
  for (size_t at = kRiffHeaderBytes; bytes.size() >= at + kChunkHeaderBytes;) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length |= std::to_integer<size_t>(bytes[at + 4 + i]) << (8 * i);
    at += kChunkHeaderBytes;
    if (length > bytes.size() - at) return 1;
    if (std::memcmp(bytes.data() + at - kChunkHeaderBytes, "EXIF", 4) == 0) {
      return exif_orientation(bytes.subspan(at, length));
    }
    at += length + (length & 1);  // chunks are padded to an even length
  }
  return 1;
}

// Decodes a still picture to `rgb`, rows `stride` apart, asking the watch between the steps. false for damage, an early
// end, and when time is up.
bool decode_into(std::span<const uint8_t> file, uint8_t* rgb, size_t room, size_t stride, const DecodeWatch& watch) {
  WebPIDecoder* decoder = WebPINewRGB(MODE_RGB, rgb, room, static_cast<int>(stride));
  if (decoder == nullptr) return false;
  const size_t step = std::max(kStepBytesMin, file.size() / kStepsMax + 1);
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (size_t shown = 0; status == VP8_STATUS_SUSPENDED && shown < file.size() && !watch.late();) {
    shown = std::min(shown + step, file.size());
    status = WebPIUpdate(decoder, file.data(), shown);
  }
  WebPIDelete(decoder);
  return status == VP8_STATUS_OK;
}

// The first frame of an animation on a canvas that is black where the frame does not reach.
Result<void> decode_first_frame(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch,
                                Image& canvas) {
  const WebPData data = {data_of(bytes), bytes.size()};
  WebPDemuxer* demuxer = WebPDemux(&data);
  WebPIterator frame{};
  const auto decode = [&]() -> Result<void> {
    if (demuxer == nullptr || WebPDemuxGetFrame(demuxer, 1, &frame) == 0) {
      return Error{ErrorCode::kCorruptFile,
                   fmt::format("{}: damaged or truncated WebP animation of {} bytes", name, bytes.size())};
    }
    // The demuxer has checked the frame's own header; the bitstream has a size of its own.
    int width = 0, height = 0;
    const bool readable = WebPGetInfo(frame.fragment.bytes, frame.fragment.size, &width, &height) != 0;
    if (!readable || frame.x_offset < 0 || frame.y_offset < 0 || width > canvas.width - frame.x_offset ||
        height > canvas.height - frame.y_offset) {
      return Error{ErrorCode::kCorruptFile,
                   fmt::format("{}: expected the first WebP frame to lie inside {}x{}, found {}x{} at ({}, {})", name,
                               canvas.width, canvas.height, width, height, frame.x_offset, frame.y_offset)};
    }
    uint8_t* first = canvas.row(frame.y_offset) + static_cast<size_t>(frame.x_offset) * 3;
    const size_t room = static_cast<size_t>(canvas.pixels.data() + canvas.pixels.size() - first);
    if (!decode_into({frame.fragment.bytes, frame.fragment.size}, first, room, canvas.row_bytes(), watch)) {
      if (watch.late()) return watch.late_error(name);
      return Error{ErrorCode::kCorruptFile, fmt::format("{}: damaged first frame of a WebP animation", name)};
    }
    return {};
  };
  Result<void> result = decode();
  WebPDemuxReleaseIterator(&frame);
  WebPDemuxDelete(demuxer);
  return result;
}

}  // namespace

Result<StoredImage> decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeWatch& watch) {
  WebPBitstreamFeatures features{};
  const VP8StatusCode status = WebPGetFeatures(data_of(bytes), bytes.size(), &features);
  if (status != VP8_STATUS_OK) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: damaged or truncated WebP header in a file of {} bytes (libwebp status {})", name,
                             bytes.size(), static_cast<int>(status))};
  }
  StoredImage stored;
  ASSIGN_OR_RETURN(stored.image, make_canvas(features.width, features.height, name, watch));
  stored.orientation = orientation_of(bytes);
  if (features.has_animation != 0) {
    RETURN_IF_ERROR(decode_first_frame(bytes, name, watch, stored.image));
    return stored;
  }
  if (!decode_into({data_of(bytes), bytes.size()}, stored.image.pixels.data(), stored.image.pixels.size(),
                   stored.image.row_bytes(), watch)) {
    if (watch.late()) return watch.late_error(name);
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: damaged or truncated WebP of {} bytes ({}x{} pixels)", name,
                                                      bytes.size(), features.width, features.height)};
  }
  return stored;
}

}  // namespace lapidary
