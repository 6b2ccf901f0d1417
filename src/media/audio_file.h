// Sound files, and the sound tracks of videos -> samples at 16 kHz, one channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/media_input.h"
#include "base/result.h"
#include "media/decode_watch.h"
#include "media/options.h"

namespace lapidary {

inline constexpr int32_t kSampleRate = 16'000;

struct Waveform {
  std::vector<float> samples;  // at kSampleRate, nominally in [-1, 1]
  int32_t source_rate = 0, source_channels = 0;
  bool cut = false;  // the source goes on after samples

  double seconds() const { return static_cast<double>(samples.size()) / kSampleRate; }
};

inline constexpr int64_t kAudioSamplesMax = static_cast<int64_t>(kLimits.audio_seconds_max) * kSampleRate;

// Decodes WAV, MP3, FLAC, Ogg, Opus, M4A and what else libavformat knows by content, from memory; of a video its sound
// track. Integers are divided by 2^(bits - 1), channels are averaged with equal weights, other rates resampled; 16 kHz
// mono passes untouched. At most samples_max samples come out (and little more is decoded): what follows is cut.
// name stands for the file in messages. Errors: kInvalidArgument for an empty file or one of more than
// Limits::audio_file_bytes_max (video_file_bytes_max when it has pictures), kUnsupported for other formats or a file
// without sound, kCorruptFile when nothing can be decoded or a sample is not a finite number, kExhausted beyond what
// the watch allows.
Result<Waveform> decode_audio(std::span<const std::byte> bytes, std::string_view name,
                              int64_t samples_max = kAudioSamplesMax, const DecodeWatch& watch = {});

// Frames of samples_per_token samples, the last one padded with zeros; values are the samples, unrounded. samples is
// not empty and at most clip_samples_max long.
MediaInput audio_frames(std::span<const float> samples, const AudioOptions& options);

// What the model reads of a clip: log-mel rows, four of them a soft token, where options.mel; else frames of samples.
// Errors: kInvalidArgument for a clip so short that it has no mel row.
Result<MediaInput> audio_input(std::span<const float> samples, const AudioOptions& options);

}  // namespace lapidary
