#include "media/video_file.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
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
#include "media/video_index.h"

namespace lapidary {
namespace {

constexpr double kFpsUnknown = 24.0;  // what the reference assumes
constexpr int kDecoderThreadsMax = 4;
constexpr int64_t kPixelsWorthThreads = 100'000'000;  // of all frames; below, starting threads costs more than it gives
constexpr int64_t kPacketsWorthSkipping = 30;
constexpr size_t kRowAlignment = 64;  // swscale writes whole vectors

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

// Of one frame as it leaves the decoder; as RGB where the format is not known, or its size has no number.
int64_t frame_bytes(int width, int height, int format) {
  const int bytes = av_image_get_buffer_size(static_cast<AVPixelFormat>(format), width, height, 1);
  return bytes > 0 ? bytes : int64_t{3} * std::max(width, 0) * std::max(height, 0);
}

std::string frames_text(int64_t count, int width, int height) {
  return fmt::format("{} {} of {}x{} pixels", count, count == 1 ? "frame" : "frames", width, height);
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

// Finds wanted frames in a stream, one after the other.
class FramePicker {
 public:
  // index may be null: frames are then counted as they come out of the decoder.
  FramePicker(AvSource& source, AVCodecContext& decoder, int stream_index, const VideoIndex* index)
      : frames_(source, decoder, stream_index), index_(index) {}

  // Frame number `wanted`, larger than the ones before; nullptr when it does not come out. Valid until the next call.
  const AVFrame* find(int64_t wanted) { return index_ != nullptr ? find_by_time(wanted) : find_by_count(wanted); }

  int last_error() const { return frames_.last_error(); }

 private:
  const AVFrame* find_by_count(int64_t wanted) {
    do {
      frame_ = frames_.next();
      ++passed_;
    } while (frame_ != nullptr && passed_ <= wanted);
    return frame_;
  }

  const AVFrame* find_by_time(int64_t wanted) {
    const int64_t time = index_->times[wanted];
    const int64_t entry = index_->entry_before(time);
    if (entry > frames_.packets_read() + kPacketsWorthSkipping) frames_.skip_to(entry);
    if (frame_ == nullptr || frame_->best_effort_timestamp < time) {
      do {
        frame_ = frames_.next();
      } while (frame_ != nullptr && frame_->best_effort_timestamp < time);
    }
    return frame_ != nullptr && frame_->best_effort_timestamp == time ? frame_ : nullptr;
  }

  AvFrames frames_;
  const VideoIndex* index_;
  const AVFrame* frame_ = nullptr;
  int64_t passed_ = 0;
};

// Whether some wanted frame lies so far behind an entry point that decoding from there saves work.
bool worth_skipping(const VideoIndex& index, const std::vector<int64_t>& wanted) {
  if (index.times.empty()) return false;
  int64_t reached = 0;  // by decoding in order up to the frame before
  for (const int64_t frame : wanted) {
    if (index.entry_before(index.times[frame]) > reached + kPacketsWorthSkipping) return true;
    reached = frame;
  }
  return false;
}

// Decodes the wanted frames into the clip, from an opening of its own. Missing frames are passed over.
Result<void> decode_frames(std::span<const std::byte> bytes, std::string_view name, const VideoOptions& options,
                           const std::vector<int64_t>& wanted, const VideoIndex* index, const DecodeWatch& watch,
                           VideoClip& clip) {
  ASSIGN_OR_RETURN(AvSource source, AvSource::open(bytes, name, watch));
  ASSIGN_OR_RETURN(const AVStream* stream, source.select_stream(AVMEDIA_TYPE_VIDEO));
  const AVCodecParameters& codec = *stream->codecpar;
  RETURN_IF_ERROR(watch.check(name, frames_text(std::ssize(wanted), codec.width, codec.height),
                              {std::ssize(wanted), frame_bytes(codec.width, codec.height, codec.format)}));
  ASSIGN_OR_RETURN(AvDecoder decoder, source.open_decoder(*stream, decoder_threads(*stream, clip.source_frames)));
  const int orientation = orientation_of(*stream);
  FramePicker picker(source, *decoder, stream->index, index);
  FrameConverter converter;
  clip.frames.clear();
  clip.frame_indices.clear();
  for (const int64_t number : wanted) {
    const AVFrame* frame = picker.find(number);
    if (watch.late()) return watch.late_error(name);
    if (frame == nullptr) continue;
    RETURN_IF_ERROR(watch.take(name, frames_text(1, frame->width, frame->height),
                               {frame_bytes(frame->width, frame->height, frame->format)}));
    ASSIGN_OR_RETURN(Image stored, converter.convert(*frame, name));
    const Image upright = oriented(std::move(stored), orientation);
    ASSIGN_OR_RETURN(MediaInput input, picture_patches(upright, MediaKind::kVideo, options.frame()));
    input.seconds = static_cast<double>(number) / clip.fps;
    clip.source_width = upright.width;
    clip.source_height = upright.height;
    clip.frame_indices.push_back(number);
    clip.frames.push_back(std::move(input));
  }
  if (clip.frames.empty()) {
    const std::string reason = picker.last_error() != 0 ? av_error_text(picker.last_error()) : "no picture came out";
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: none of {} frames can be decoded: {}", name, clip.source_frames, reason)};
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

Result<VideoClip> decode_video(std::span<const std::byte> bytes, std::string_view name, const VideoOptions& options,
                               const DecodeWatch& watch) {
  RETURN_IF_ERROR(check_options(bytes, name, options));
  VideoClip clip;
  VideoIndex index;
  {
    ASSIGN_OR_RETURN(AvSource source, AvSource::open(bytes, name, watch));
    ASSIGN_OR_RETURN(const AVStream* stream, source.select_stream(AVMEDIA_TYPE_VIDEO));
    clip.fps = source_fps(*stream);
    ASSIGN_OR_RETURN(index, index_video(source, *stream));
  }
  clip.source_frames = index.frames;
  if (clip.source_frames < 1) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: expected a video, found no frames in {} bytes", name, bytes.size())};
  }
  const std::vector<int64_t> wanted = sampled_frames(clip.source_frames, clip.fps, options);
  if (worth_skipping(index, wanted)) {
    const Result<void> decoded = decode_frames(bytes, name, options, wanted, &index, watch, clip);
    if (decoded && clip.frames.size() == wanted.size()) return clip;
    if (!decoded && decoded.error().code == ErrorCode::kExhausted) return decoded.error();
    // An entry point or a time stamp was not what it seemed: every frame is decoded after all.
  }
  RETURN_IF_ERROR(decode_frames(bytes, name, options, wanted, nullptr, watch, clip));
  return clip;
}

}  // namespace lapidary
