#include "media/video_file.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>
#include <utility>

#include "base/limits.h"
#include "media/av_source.h"
#include "media/image.h"
#include "media/patches.h"

namespace lapidary {
namespace {

constexpr double kFpsUnknown = 24.0;  // what the reference assumes
constexpr int kDecoderThreadsMax = 4;
constexpr int64_t kPixelsWorthThreads = 100'000'000;  // of all frames; below, starting threads costs more than it gives
constexpr size_t kRowAlignment = 64;                  // swscale writes whole vectors

struct SwsDeleter {
  void operator()(SwsContext* context) const { sws_freeContext(context); }
};
using SwsHandle = std::unique_ptr<SwsContext, SwsDeleter>;

double source_fps(const AVStream& stream) {
  const double fps = stream.avg_frame_rate.den != 0 ? av_q2d(stream.avg_frame_rate) : 0.0;
  return std::isfinite(fps) && fps > 0 ? fps : kFpsUnknown;
}

// EXIF-style orientation of the container's display matrix, which maps stored (x, y) to shown (a x + c y, b x + d y).
int orientation_of(const AVStream& stream) {
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (data == nullptr || size < 9 * sizeof(int32_t)) return 1;
  int32_t matrix[9];
  std::memcpy(matrix, data, sizeof(matrix));
  const int64_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
  if (std::abs(a) + std::abs(d) >= std::abs(b) + std::abs(c)) {
    if (a >= 0) return d >= 0 ? 1 : 4;
    return d >= 0 ? 2 : 3;
  }
  if (b >= 0) return c >= 0 ? 5 : 6;
  return c >= 0 ? 8 : 7;
}

int decoder_threads(const AVStream& stream, int64_t frames) {
  const int64_t pixels = int64_t{stream.codecpar->width} * stream.codecpar->height;
  if (pixels <= 0 || frames < kPixelsWorthThreads / pixels) return 1;
  return std::clamp<int>(static_cast<int>(std::thread::hardware_concurrency()), 1, kDecoderThreadsMax);
}

// A packet that will become a picture of its own.
bool shows_a_frame(const AVPacket& packet, const AVCodecParameters& codec) {
  if ((packet.flags & AV_PKT_FLAG_DISCARD) != 0 || packet.size == 0) return false;
  // Bit 4 of a VP8 frame's tag says whether it is shown; alternate references are not (RFC 6386, section 9.1).
  return codec.codec_id != AV_CODEC_ID_VP8 || (packet.data[0] & 0x10) != 0;
}

// Headers may lie or say nothing; packets are counted without decoding them.
Result<int64_t> count_frames(AvSource& source, const AVStream& stream) {
  AvPacket packet(av_packet_alloc());
  if (packet == nullptr) return Error{ErrorCode::kExhausted, fmt::format("{}: no memory for a packet", source.name())};
  int64_t frames = 0;
  while (av_read_frame(source.format(), packet.get()) >= 0) {
    if (packet->stream_index == stream.index && shows_a_frame(*packet, *stream.codecpar)) ++frames;
    av_packet_unref(packet.get());
  }
  return frames;
}

// Frames of any pixel format -> RGB.
class FrameConverter {
 public:
  Result<Image> convert(const AVFrame& frame, std::string_view name) {
    if (frame.width < 1 || frame.height < 1 || frame.width > kLimits.image_pixels_max / frame.height) {
      return Error{ErrorCode::kInvalidArgument, fmt::format("{}: expected frames of at most {} pixels, found {}x{}",
                                                            name, kLimits.image_pixels_max, frame.width, frame.height)};
    }
    const auto format = static_cast<AVPixelFormat>(frame.format);
    if (context_ == nullptr || frame.width != width_ || frame.height != height_ || format != format_) {
      // The flag that PyAV uses: the reference's frames come out bit for bit. Finer chroma (full horizontal chroma,
      // accurate rounding) would move sharp colour edges away from them.
      context_.reset(sws_getContext(frame.width, frame.height, format, frame.width, frame.height, AV_PIX_FMT_RGB24,
                                    SWS_BILINEAR, nullptr, nullptr, nullptr));
      width_ = frame.width;
      height_ = frame.height;
      format_ = format;
    }
    if (context_ == nullptr) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("{}: no conversion from pixel format {} to RGB", name, frame.format)};
    }
    const int* matrix =
        sws_getCoefficients(frame.colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_DEFAULT : frame.colorspace);
    const int full_range = frame.color_range == AVCOL_RANGE_JPEG ? 1 : 0;
    // Fails for sources that are RGB already, which need no matrix.
    sws_setColorspaceDetails(context_.get(), matrix, full_range, sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16,
                             1 << 16);

    const size_t row_bytes = static_cast<size_t>(frame.width) * 3;
    const size_t stride = (row_bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
    rows_.resize(stride * frame.height + kRowAlignment);
    uint8_t* target[4] = {rows_.data(), nullptr, nullptr, nullptr};
    const int strides[4] = {static_cast<int>(stride), 0, 0, 0};
    if (sws_scale(context_.get(), frame.data, frame.linesize, 0, frame.height, target, strides) != frame.height) {
      return Error{ErrorCode::kCorruptFile, fmt::format("{}: a frame cannot be converted to RGB", name)};
    }
    Image image;
    image.width = frame.width;
    image.height = frame.height;
    image.pixels.resize(row_bytes * frame.height);
    for (int32_t y = 0; y < image.height; ++y) std::memcpy(image.row(y), rows_.data() + stride * y, row_bytes);
    return image;
  }

 private:
  SwsHandle context_;
  int width_ = 0, height_ = 0;
  AVPixelFormat format_ = AV_PIX_FMT_NONE;
  std::vector<uint8_t> rows_;
};

Result<void> check_options(std::span<const std::byte> bytes, std::string_view name, const VideoOptions& options) {
  if (std::ssize(bytes) > kLimits.video_file_bytes_max) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("{}: expected a video of at most {} bytes, found {}", name,
                                                          kLimits.video_file_bytes_max, bytes.size())};
  }
  if (options.num_frames < 1 || options.num_frames > kLimits.video_frames_max) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("frames of a video: expected 1 to {}, found {}",
                                                          kLimits.video_frames_max, options.num_frames)};
  }
  if (options.fps.has_value() && !(std::isfinite(*options.fps) && *options.fps > 0)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("frames per second of a video: expected more than 0, found {}", *options.fps)};
  }
  return {};
}

}  // namespace

std::vector<int64_t> sampled_frames(int64_t total, double source_fps, const VideoOptions& options) {
  CHECK(total >= 1);
  int64_t count = options.num_frames;
  if (options.fps.has_value()) {
    const double wanted = static_cast<double>(total) / source_fps * *options.fps;
    count = wanted < static_cast<double>(total) ? static_cast<int64_t>(wanted) : total;
  }
  count = std::clamp<int64_t>(count, 1, std::min<int64_t>(total, kLimits.video_frames_max));
  std::vector<int64_t> indices(count);
  for (int64_t i = 0; i < count; ++i) indices[i] = i * total / count;
  return indices;
}

Result<VideoClip> decode_video(std::span<const std::byte> bytes, std::string_view name, const VideoOptions& options) {
  RETURN_IF_ERROR(check_options(bytes, name, options));
  VideoClip clip;
  {
    ASSIGN_OR_RETURN(AvSource source, AvSource::open(bytes, name));
    ASSIGN_OR_RETURN(const AVStream* stream, source.select_stream(AVMEDIA_TYPE_VIDEO));
    ASSIGN_OR_RETURN(clip.source_frames, count_frames(source, *stream));
  }
  if (clip.source_frames < 1) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: expected a video, found no frames in {} bytes", name, bytes.size())};
  }
  // Opened anew: not every container can be read from the start again.
  ASSIGN_OR_RETURN(AvSource source, AvSource::open(bytes, name));
  ASSIGN_OR_RETURN(AVStream * stream, source.select_stream(AVMEDIA_TYPE_VIDEO));
  ASSIGN_OR_RETURN(AvDecoder decoder, source.open_decoder(*stream, decoder_threads(*stream, clip.source_frames)));
  clip.fps = source_fps(*stream);
  const int orientation = orientation_of(*stream);
  const std::vector<int64_t> indices = sampled_frames(clip.source_frames, clip.fps, options);

  AvFrames frames(source, *decoder, stream->index);
  FrameConverter converter;
  size_t wanted = 0;
  for (int64_t index = 0; wanted < indices.size(); ++index) {
    const AVFrame* frame = frames.next();
    if (frame == nullptr) break;
    if (index != indices[wanted]) continue;
    ++wanted;
    ASSIGN_OR_RETURN(Image stored, converter.convert(*frame, name));
    const Image upright = oriented(std::move(stored), orientation);
    ASSIGN_OR_RETURN(MediaInput input, picture_patches(upright, MediaKind::kVideo, options.frame()));
    input.seconds = static_cast<double>(index) / clip.fps;
    clip.source_width = upright.width;
    clip.source_height = upright.height;
    clip.frame_indices.push_back(index);
    clip.frames.push_back(std::move(input));
  }
  if (clip.frames.empty()) {
    const std::string reason = frames.last_error() != 0 ? av_error_text(frames.last_error()) : "no picture came out";
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: none of {} frames can be decoded: {}", name, clip.source_frames, reason)};
  }
  return clip;
}

}  // namespace lapidary
