#include "media/processor_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/limits.h"
#include "base/mapped_file.h"
#include "media/audio_file.h"

namespace lapidary {
namespace {

constexpr int64_t kPatchSizeMax = 64;
constexpr int64_t kPoolingMax = 16;
constexpr int64_t kBicubic = 3;  // PIL's number
constexpr int64_t kMelBandsMax = 1024;
constexpr int64_t kFftLengthMax = 8192;
constexpr int64_t kHopSamplesMin = 16;  // bounds the rows of a clip
constexpr double kRescaleFactor = 1.0 / 255.0;

Error wrong(const JsonObject& section, std::string_view key, std::string_view expected) {
  const Json* found = section.find(key);
  return {ErrorCode::kCorruptFile, fmt::format("{}: \"{}\": expected {}, found {}", section.source(), key, expected,
                                               found == nullptr ? "nothing" : dump_json(*found))};
}

// A list that is missing or holds nothing but value.
Result<void> check_all(const JsonObject& section, std::string_view key, double value) {
  const Json* list = section.find(key);
  if (list == nullptr) return {};
  const bool all = list->is_array() && std::all_of(list->begin(), list->end(), [&](const Json& item) {
                     return item.is_number() && item.get<double>() == value;
                   });
  if (!all) return wrong(section, key, fmt::format("a list of {}", value));
  return {};
}

// The settings of which only one value is implemented.
Result<void> check_fixed_steps(const JsonObject& section) {
  ASSIGN_OR_RETURN(const int64_t resample, section.integer_or("resample", 0, 16, kBicubic));
  if (resample != kBicubic) return wrong(section, "resample", "3 (bicubic)");
  ASSIGN_OR_RETURN(const double factor, section.number_or("rescale_factor", kRescaleFactor));
  if (std::abs(factor - kRescaleFactor) > 1e-12) return wrong(section, "rescale_factor", "1/255");
  for (const std::string_view key : {"do_resize", "do_rescale", "do_convert_rgb"}) {
    ASSIGN_OR_RETURN(const bool on, section.boolean_or(key, true));
    if (!on) return wrong(section, key, "true");
  }
  ASSIGN_OR_RETURN(const bool normalise, section.boolean_or("do_normalize", false));
  if (!normalise) return {};
  RETURN_IF_ERROR(check_all(section, "image_mean", 0.0));
  return check_all(section, "image_std", 1.0);
}

Result<ImageOptions> read_patching(const JsonObject& section, const ImageOptions& defaults) {
  RETURN_IF_ERROR(check_fixed_steps(section));
  ImageOptions options;
  ASSIGN_OR_RETURN(options.patch_size, section.integer_or("patch_size", 1, kPatchSizeMax, defaults.patch_size));
  ASSIGN_OR_RETURN(options.pooling_kernel_size,
                   section.integer_or("pooling_kernel_size", 1, kPoolingMax, defaults.pooling_kernel_size));
  ASSIGN_OR_RETURN(options.max_soft_tokens,
                   section.integer_or("max_soft_tokens", INT32_MIN, INT32_MAX, defaults.max_soft_tokens));
  if (std::find(kSoftTokenBudgets.begin(), kSoftTokenBudgets.end(), options.max_soft_tokens) ==
      kSoftTokenBudgets.end()) {
    return wrong(section, "max_soft_tokens", "70, 140, 280, 560 or 1120");
  }
  return options;
}

Result<void> read_video(const JsonObject& section, VideoOptions& options) {
  ASSIGN_OR_RETURN(const ImageOptions frame, read_patching(section, options.frame()));
  options.patch_size = frame.patch_size;
  options.pooling_kernel_size = frame.pooling_kernel_size;
  options.max_soft_tokens = frame.max_soft_tokens;
  ASSIGN_OR_RETURN(options.num_frames,
                   section.integer_or("num_frames", 1, kLimits.video_frames_max, options.num_frames));
  if (section.has("fps")) {
    ASSIGN_OR_RETURN(const double fps, section.number("fps"));
    if (!(std::isfinite(fps) && fps > 0)) return wrong(section, "fps", "a number above 0");
    options.fps = fps;
  }
  return {};
}

// Steps of the conformer's extractor that are switched off in every release.
Result<void> check_unused_steps(const JsonObject& section) {
  for (const auto& [key, off] : {std::pair{"dither", 0.0}, {"preemphasis", 0.0}, {"input_scale_factor", 1.0}}) {
    ASSIGN_OR_RETURN(const double value, section.number_or(key, off));
    if (value != off) return wrong(section, key, fmt::format("{}", off));
  }
  for (const std::string_view key : {"per_bin_mean", "per_bin_stddev"}) {
    if (section.has(key)) return wrong(section, key, "null");
  }
  return {};
}

Result<MelOptions> read_mel(const JsonObject& section) {
  RETURN_IF_ERROR(check_unused_steps(section));
  MelOptions mel;
  ASSIGN_OR_RETURN(mel.bands, section.integer_or("feature_size", 1, kMelBandsMax, mel.bands));
  ASSIGN_OR_RETURN(mel.frame_samples, section.integer_or("frame_length", 2, kFftLengthMax, mel.frame_samples));
  ASSIGN_OR_RETURN(mel.hop_samples, section.integer_or("hop_length", kHopSamplesMin, kFftLengthMax, mel.hop_samples));
  ASSIGN_OR_RETURN(mel.fft_length, section.integer_or("fft_length", 2, kFftLengthMax, mel.fft_length));
  if ((mel.fft_length & (mel.fft_length - 1)) != 0 || mel.fft_length < mel.frame_samples)
    return wrong(section, "fft_length", fmt::format("a power of two, at least frame_length, {}", mel.frame_samples));
  ASSIGN_OR_RETURN(mel.low_hz, section.number_or("min_frequency", mel.low_hz));
  ASSIGN_OR_RETURN(mel.high_hz, section.number_or("max_frequency", mel.high_hz));
  if (!(mel.low_hz >= 0 && mel.low_hz < mel.high_hz && mel.high_hz <= kSampleRate / 2.0))
    return wrong(section, "max_frequency", fmt::format("more than {} and at most {}", mel.low_hz, kSampleRate / 2));
  ASSIGN_OR_RETURN(mel.floor, section.number_or("mel_floor", mel.floor));
  if (!(mel.floor > 0 && std::isfinite(mel.floor))) return wrong(section, "mel_floor", "a number above 0");
  return mel;
}

// Two extractors exist: the conformer's makes mel bands, the encoder-free one has samples per token. Both have a
// feature_size.
Result<void> read_audio(const JsonObject& section, AudioOptions& options) {
  ASSIGN_OR_RETURN(const int64_t rate, section.integer_or("sampling_rate", 0, INT32_MAX, kSampleRate));
  if (rate != kSampleRate) return wrong(section, "sampling_rate", fmt::format("{}", kSampleRate));
  ASSIGN_OR_RETURN(options.samples_per_token, section.integer_or("audio_samples_per_token", 1, options.clip_samples_max,
                                                                 options.samples_per_token));
  ASSIGN_OR_RETURN(const std::string type, section.string_or("feature_extractor_type", ""));
  if (type != "Gemma4AudioFeatureExtractor") return {};
  ASSIGN_OR_RETURN(options.mel, read_mel(section));
  return {};
}

}  // namespace

Result<ProcessorOptions> parse_processor_options(const Json& document, const std::string& source) {
  ASSIGN_OR_RETURN(const JsonObject top, JsonObject::of(document, source));
  ProcessorOptions options;
  if (top.has("image_processor")) {
    ASSIGN_OR_RETURN(const JsonObject section, top.object("image_processor"));
    ASSIGN_OR_RETURN(options.image, read_patching(section, options.image));
  }
  if (top.has("video_processor")) {
    ASSIGN_OR_RETURN(const JsonObject section, top.object("video_processor"));
    RETURN_IF_ERROR(read_video(section, options.video));
  }
  if (top.has("feature_extractor")) {
    ASSIGN_OR_RETURN(const JsonObject section, top.object("feature_extractor"));
    RETURN_IF_ERROR(read_audio(section, options.audio));
  }
  return options;
}

Result<ProcessorOptions> read_processor_options(const std::filesystem::path& model_directory) {
  const std::filesystem::path path = model_directory / "processor_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return ProcessorOptions{};
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kLimits.config_bytes_max));
  ASSIGN_OR_RETURN(const Json document, parse_json(text, path.string()));
  return parse_processor_options(document, path.string());
}

}  // namespace lapidary
