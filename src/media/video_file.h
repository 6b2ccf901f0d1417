// Video files -> sampled frames, each an ordinary picture with its time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/media_input.h"
#include "base/result.h"
#include "media/decode_watch.h"
#include "media/options.h"

namespace lapidary {

struct VideoClip {
  std::vector<MediaInput> frames;      // kind kVideo, in time order; seconds = index in the source / fps
  std::vector<int64_t> frame_indices;  // [frames]
  int64_t source_frames = 0;
  double fps = 0;                               // average rate of the source; 24 when it does not say
  int32_t source_width = 0, source_height = 0;  // upright

  double seconds() const { return static_cast<double>(source_frames) / fps; }
};

// floor(i * total / count) for i = 0 ... count - 1 where count is options.num_frames, or with options.fps
// floor(total / source_fps * fps); at least 1, at most total and Limits::video_frames_max.
std::vector<int64_t> sampled_frames(int64_t total, double source_fps, const VideoOptions& options);

// Decodes the sampled frames: the stream's own colour matrix and range, the container's rotation applied. Frames that
// cannot be decoded are missing from the result. name stands for the file in messages. Errors: kInvalidArgument for
// options out of range, an empty file or one of more than Limits::video_file_bytes_max, kUnsupported for other formats
// or a file without pictures, kCorruptFile when no frame can be decoded, kExhausted beyond what the watch allows: the
// sampled frames count, as large as the decoder makes them.
Result<VideoClip> decode_video(std::span<const std::byte> bytes, std::string_view name, const VideoOptions& options,
                               const DecodeWatch& watch = {});

}  // namespace lapidary
