// One call per attachment: a file, or its bytes -> what the model reads and a summary for people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/media_input.h"
#include "base/result.h"
#include "media/decode_watch.h"
#include "media/image.h"
#include "media/options.h"

namespace lapidary {

struct MediaSummary {
  MediaKind kind = MediaKind::kImage;
  std::string name;
  int32_t soft_tokens = 0;                       // rows of all inputs together
  int32_t source_width = 0, source_height = 0;   // pictures: upright, before resizing
  int32_t grid_width = 0, grid_height = 0;       // pictures: soft tokens across and down, of one frame
  int64_t source_frames = 0;                     // videos
  double fps = 0;                                // videos: of the source
  double seconds = 0;                            // videos: of the source; sound: of what is kept
  int32_t source_rate = 0, source_channels = 0;  // sound
  bool cut = false;                              // sound: the file goes on after clip_samples_max
};

struct LoadedMedia {
  std::vector<MediaInput> inputs;  // one per picture, one per clip of sound, one per frame of a video
  // With VideoOptions::sound: for each frame what is heard until the next one; no rows where there is nothing to hear.
  std::vector<MediaInput> sounds;
  MediaSummary summary;
};

// Of bytes in memory; name stands for them in messages. Errors: as decode_image, decode_audio, decode_video.
Result<LoadedMedia> load_image(std::span<const std::byte> bytes, std::string_view name, const ImageOptions& options,
                               const DecodeWatch& watch = {});
Result<LoadedMedia> load_audio(std::span<const std::byte> bytes, std::string_view name, const AudioOptions& options,
                               const DecodeWatch& watch = {});
Result<LoadedMedia> load_video(std::span<const std::byte> bytes, std::string_view name, const VideoOptions& options,
                               const DecodeWatch& watch = {});
// Of a picture that is decoded already.
Result<LoadedMedia> load_image(const Image& image, std::string_view name, const ImageOptions& options);

// Of files. Errors: kNotFound as well.
Result<LoadedMedia> load_image(const std::filesystem::path& path, const ImageOptions& options);
Result<LoadedMedia> load_audio(const std::filesystem::path& path, const AudioOptions& options);
Result<LoadedMedia> load_video(const std::filesystem::path& path, const VideoOptions& options);

}  // namespace lapidary
