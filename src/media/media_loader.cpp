#include "media/media_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/log.h"
#include "base/mapped_file.h"
#include "media/audio_file.h"
#include "media/image_file.h"
#include "media/mel.h"
#include "media/patches.h"
#include "media/video_file.h"

namespace lapidary {
namespace {

MediaSummary summarise(std::string_view name, const std::vector<MediaInput>& inputs) {
  MediaSummary summary;
  summary.name = name;
  summary.kind = inputs.front().kind;
  summary.source_width = inputs.front().source_width;
  summary.source_height = inputs.front().source_height;
  for (const MediaInput& input : inputs) summary.soft_tokens += input.rows;
  // The last patch stands in the last column of the last row; a soft token is a square of patches.
  const std::vector<int32_t>& positions = inputs.front().positions;
  if (!positions.empty()) {
    const int32_t patches_per_token = inputs.front().units() / inputs.front().rows;
    const int32_t side = static_cast<int32_t>(std::lround(std::sqrt(patches_per_token)));
    summary.grid_width = (positions[positions.size() - 2] + 1) / side;
    summary.grid_height = (positions[positions.size() - 1] + 1) / side;
  }
  return summary;
}

// The sound from each frame's time to the next one's. A clip without a sound track has none, and what is too short for
// one soft token (the end of a track that stops earlier) is left out.
Result<std::vector<MediaInput>> sound_of_frames(std::span<const std::byte> bytes, std::string_view name,
                                                const VideoClip& clip, const AudioOptions& options,
                                                const DecodeWatch& watch) {
  std::vector<MediaInput> sounds(clip.frames.size());
  for (MediaInput& sound : sounds) sound.kind = MediaKind::kAudio;
  auto wave = decode_audio(bytes, name, kAudioSamplesMax, watch);
  if (!wave) {
    if (wave.error().code != ErrorCode::kUnsupported) return wave.error();
    spdlog::warn("{}", wave.error().message);
    return sounds;
  }
  const auto sample_at = [&](double seconds) {
    return std::clamp<int64_t>(std::llround(seconds * kSampleRate), 0, std::ssize(wave->samples));
  };
  for (size_t i = 0; i < sounds.size(); ++i) {
    const int64_t begin = sample_at(clip.frames[i].seconds),
                  next = sample_at(i + 1 < sounds.size() ? clip.frames[i + 1].seconds : clip.seconds()),
                  end = std::min<int64_t>(next, begin + options.clip_samples_max);
    if (end <= begin || (options.mel && mel_rows(end - begin, *options.mel) == 0)) continue;
    ASSIGN_OR_RETURN(sounds[i], audio_input(std::span(wave->samples).subspan(begin, end - begin), options));
  }
  return sounds;
}

template <class Options>
Result<LoadedMedia> load_file(const std::filesystem::path& path, const Options& options,
                              Result<LoadedMedia> (*load)(std::span<const std::byte>, std::string_view, const Options&,
                                                          const DecodeWatch&)) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return load(file.bytes(), path.string(), options, {});
}

}  // namespace

Result<LoadedMedia> load_image(std::span<const std::byte> bytes, std::string_view name, const ImageOptions& options,
                               const DecodeWatch& watch) {
  ASSIGN_OR_RETURN(const Image image, decode_image(bytes, name, watch));
  return load_image(image, name, options);
}

Result<LoadedMedia> load_image(const Image& image, std::string_view name, const ImageOptions& options) {
  ASSIGN_OR_RETURN(MediaInput input, picture_patches(image, MediaKind::kImage, options));
  LoadedMedia loaded;
  loaded.inputs.push_back(std::move(input));
  loaded.summary = summarise(name, loaded.inputs);
  return loaded;
}

Result<LoadedMedia> load_audio(std::span<const std::byte> bytes, std::string_view name, const AudioOptions& options,
                               const DecodeWatch& watch) {
  ASSIGN_OR_RETURN(const Waveform wave, decode_audio(bytes, name, options.clip_samples_max, watch));
  auto input = audio_input(wave.samples, options);
  if (!input) return Error{input.error().code, fmt::format("{}: {}", name, input.error().message)};
  LoadedMedia loaded;
  loaded.inputs.push_back(std::move(*input));
  loaded.summary = summarise(name, loaded.inputs);
  loaded.summary.seconds = wave.seconds();
  loaded.summary.source_rate = wave.source_rate;
  loaded.summary.source_channels = wave.source_channels;
  loaded.summary.cut = wave.cut;
  return loaded;
}

Result<LoadedMedia> load_video(std::span<const std::byte> bytes, std::string_view name, const VideoOptions& options,
                               const DecodeWatch& watch) {
  ASSIGN_OR_RETURN(VideoClip clip, decode_video(bytes, name, options, watch));
  LoadedMedia loaded;
  if (options.sound) {
    ASSIGN_OR_RETURN(loaded.sounds, sound_of_frames(bytes, name, clip, *options.sound, watch));
  }
  loaded.inputs = std::move(clip.frames);
  loaded.summary = summarise(name, loaded.inputs);
  for (const MediaInput& sound : loaded.sounds) loaded.summary.soft_tokens += sound.rows;
  loaded.summary.source_frames = clip.source_frames;
  loaded.summary.fps = clip.fps;
  loaded.summary.seconds = clip.seconds();
  return loaded;
}

Result<LoadedMedia> load_image(const std::filesystem::path& path, const ImageOptions& options) {
  return load_file<ImageOptions>(path, options, load_image);
}

Result<LoadedMedia> load_audio(const std::filesystem::path& path, const AudioOptions& options) {
  return load_file<AudioOptions>(path, options, load_audio);
}

Result<LoadedMedia> load_video(const std::filesystem::path& path, const VideoOptions& options) {
  return load_file<VideoOptions>(path, options, load_video);
}

}  // namespace lapidary
