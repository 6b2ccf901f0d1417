#include "media/audio_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "media/av_source.h"
#include "media/content_hash.h"
#include "media/mel.h"
#include "media/resample.h"

namespace lapidary {
namespace {

constexpr int kChannelsMax = 64;

// Divides the integer formats by their full scale. Unsigned bytes are centred on 128.
double to_unit(uint8_t sample) { return (static_cast<double>(sample) - 128.0) / 128.0; }
double to_unit(int16_t sample) { return sample * 0x1p-15; }
double to_unit(int32_t sample) { return sample * 0x1p-31; }
double to_unit(int64_t sample) { return static_cast<double>(sample) * 0x1p-63; }
double to_unit(float sample) { return sample; }
double to_unit(double sample) { return sample; }

template <class Sample>
void average_channels(const AVFrame& frame, bool planar, int channels, std::vector<float>& mono) {
  for (int i = 0; i < frame.nb_samples; ++i) {
    double sum = 0;
    for (int c = 0; c < channels; ++c) {
      const auto* plane = reinterpret_cast<const Sample*>(frame.extended_data[planar ? c : 0]);
      sum += to_unit(planar ? plane[i] : plane[static_cast<size_t>(i) * channels + c]);
    }
    mono[i] = static_cast<float>(sum / channels);
  }
}

// false for a format that is not known.
bool to_mono(const AVFrame& frame, std::vector<float>& mono) {
  const int channels = frame.ch_layout.nb_channels;
  mono.resize(frame.nb_samples);
  const auto format = static_cast<AVSampleFormat>(frame.format);
  const bool planar = av_sample_fmt_is_planar(format) != 0;
  switch (av_get_packed_sample_fmt(format)) {
    case AV_SAMPLE_FMT_U8:
      average_channels<uint8_t>(frame, planar, channels, mono);
      return true;
    case AV_SAMPLE_FMT_S16:
      average_channels<int16_t>(frame, planar, channels, mono);
      return true;
    case AV_SAMPLE_FMT_S32:
      average_channels<int32_t>(frame, planar, channels, mono);
      return true;
    case AV_SAMPLE_FMT_S64:
      average_channels<int64_t>(frame, planar, channels, mono);
      return true;
    case AV_SAMPLE_FMT_FLT:
      average_channels<float>(frame, planar, channels, mono);
      return true;
    case AV_SAMPLE_FMT_DBL:
      average_channels<double>(frame, planar, channels, mono);
      return true;
    default:
      return false;
  }
}

// How many samples at kSampleRate so many of another rate become.
int64_t resampled(int64_t samples, int32_t rate) { return (samples * kSampleRate + rate - 1) / rate; }

// What the container says of the length, before any of it is decoded; where it says nothing, or something absurd, the
// samples are counted as they come.
Result<void> check_length(const AVStream& stream, int64_t samples_max, std::string_view name,
                          const DecodeWatch& watch) {
  if (stream.duration == AV_NOPTS_VALUE || stream.time_base.den <= 0) return {};
  const double seconds = static_cast<double>(stream.duration) * av_q2d(stream.time_base);
  if (!(seconds > 0 && seconds < 1e9)) return {};
  const int64_t samples = std::min(samples_max, static_cast<int64_t>(seconds * kSampleRate));
  return watch.check(name, fmt::format("{:.0f} s of sound", seconds), {samples, sizeof(float)});
}

Result<void> check_frame(const AVFrame& frame, std::string_view name) {
  const int channels = frame.ch_layout.nb_channels;
  if (channels < 1 || channels > kChannelsMax) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: expected 1 to {} channels of sound, found {}", name, kChannelsMax, channels)};
  }
  if (frame.sample_rate < 1 || frame.sample_rate > Resampler::kRateMax) {
    return Error{ErrorCode::kUnsupported, fmt::format("{}: expected a sample rate of 1 to {} Hz, found {}", name,
                                                      Resampler::kRateMax, frame.sample_rate)};
  }
  return {};
}

}  // namespace

Result<Waveform> decode_audio(std::span<const std::byte> bytes, std::string_view name, int64_t samples_max,
                              const DecodeWatch& watch) {
  CHECK(samples_max >= 1);
  const auto too_large = [&](int64_t limit) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: expected at most {} bytes of sound, found {}", name, limit, bytes.size())};
  };
  if (std::ssize(bytes) > kLimits.video_file_bytes_max) return too_large(kLimits.video_file_bytes_max);
  ASSIGN_OR_RETURN(AvSource source, AvSource::open(bytes, name, watch));
  const bool has_pictures = av_find_best_stream(source.format(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0) >= 0;
  if (!has_pictures && std::ssize(bytes) > kLimits.audio_file_bytes_max) return too_large(kLimits.audio_file_bytes_max);
  ASSIGN_OR_RETURN(AVStream * stream, source.select_stream(AVMEDIA_TYPE_AUDIO));
  ASSIGN_OR_RETURN(AvDecoder decoder, source.open_decoder(*stream, 1));

  RETURN_IF_ERROR(check_length(*stream, samples_max, name, watch));

  Waveform wave;
  AvFrames frames(source, *decoder, stream->index);
  std::optional<Resampler> resampler;
  std::vector<float> mono;
  // One sample more than asked for tells whether the source goes on.
  while (std::ssize(wave.samples) <= samples_max) {
    const AVFrame* frame = frames.next();
    if (watch.late()) return watch.late_error(name);
    if (frame == nullptr) break;
    RETURN_IF_ERROR(check_frame(*frame, name));
    if (!resampler.has_value() || frame->sample_rate != wave.source_rate) {
      if (resampler.has_value()) resampler->finish(wave.samples);
      resampler.emplace(frame->sample_rate, kSampleRate);
      wave.source_rate = frame->sample_rate;
      wave.source_channels = frame->ch_layout.nb_channels;
    }
    const int64_t samples = resampled(frame->nb_samples, frame->sample_rate);
    RETURN_IF_ERROR(watch.take(name, fmt::format("{} more samples of sound", samples), {samples, sizeof(float)}));
    if (!to_mono(*frame, mono)) {
      return Error{ErrorCode::kUnsupported, fmt::format("{}: unknown sample format {}", name, frame->format)};
    }
    if (!std::all_of(mono.begin(), mono.end(), [](float sample) { return std::isfinite(sample); })) {
      return Error{ErrorCode::kCorruptFile,
                   fmt::format("{}: a sample near {:.3f} s is not a finite number", name, wave.seconds())};
    }
    resampler->push(mono, wave.samples);
  }
  if (resampler.has_value() && std::ssize(wave.samples) <= samples_max) resampler->finish(wave.samples);
  wave.cut = std::ssize(wave.samples) > samples_max;
  if (wave.cut) wave.samples.resize(samples_max);
  if (wave.samples.empty()) {
    const std::string reason = frames.last_error() != 0 ? av_error_text(frames.last_error()) : "no samples";
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: expected sound, found none in {} bytes of {}: {}", name,
                                                      bytes.size(), source.format()->iformat->name, reason)};
  }
  return wave;
}

MediaInput audio_frames(std::span<const float> samples, const AudioOptions& options) {
  CHECK(!samples.empty() && std::ssize(samples) <= options.clip_samples_max && options.samples_per_token >= 1);
  MediaInput input;
  input.kind = MediaKind::kAudio;
  input.cols = options.samples_per_token;
  input.rows = static_cast<int32_t>((std::ssize(samples) + input.cols - 1) / input.cols);
  input.values.assign(samples.begin(), samples.end());
  input.values.resize(static_cast<size_t>(input.rows) * input.cols, 0.0f);
  input.seconds = static_cast<double>(samples.size()) / kSampleRate;
  ContentHash hash;
  hash.add(static_cast<uint64_t>(input.kind));
  hash.add(static_cast<uint64_t>(input.cols));
  hash.add(std::as_bytes(samples));  // its length too: zeros at the end are not padding
  input.content_hash = hash.value();
  return input;
}

Result<MediaInput> audio_input(std::span<const float> samples, const AudioOptions& options) {
  if (!options.mel) return audio_frames(samples, options);
  CHECK(std::ssize(samples) <= options.clip_samples_max);
  const MelOptions& mel = *options.mel;
  const int32_t rows = mel_rows(std::ssize(samples), mel);
  if (rows == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("expected more than {} samples of sound at {} Hz, found {}",
                             mel.frame_samples - mel.frame_samples / 2, kSampleRate, samples.size())};
  }
  MediaInput input;
  input.kind = MediaKind::kAudio;
  input.value_rows = rows;
  input.cols = mel.bands;
  // Two convolutions with stride 2 follow, each of which rounds up.
  input.rows = ((rows + 1) / 2 + 1) / 2;
  input.values = log_mel(samples, mel);
  input.seconds = static_cast<double>(samples.size()) / kSampleRate;
  ContentHash hash;
  hash.add(static_cast<uint64_t>(input.kind));
  hash.add(static_cast<uint64_t>(input.cols));
  hash.add(std::as_bytes(std::span<const float>(input.values)));
  input.content_hash = hash.value();
  return input;
}

}  // namespace lapidary
