#include "cli/bench_media.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/rng.h"
#include "cli/terminal.h"
#include "media/audio_file.h"
#include "media/patches.h"
#include "model/model.h"
#include "ops/select/select.h"
#include "prompt/media_shelf.h"

namespace lapidary::cli {
namespace {

uint64_t noise(size_t i) { return hash_counter(17, i, 0); }

Result<MediaInput> noise_picture(const ImageOptions& options) {
  Image image{.width = 1024, .height = 768, .pixels = {}};
  image.pixels.resize(static_cast<size_t>(image.height) * image.row_bytes());
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(noise(i));
  return picture_patches(image, MediaKind::kImage, options);
}

Result<MediaInput> noise_sound(int32_t seconds, const AudioOptions& options) {
  std::vector<float> samples(static_cast<size_t>(seconds) * kSampleRate);
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i] = static_cast<float>(static_cast<int32_t>(noise(i) % 65536) - 32768) / 131072.0f;
  }
  return audio_input(samples, options);
}

// Flop of matrix products and attention, two for each multiplication.
double picture_flop(const ModelConfig& config, const MediaInput& input) {
  const double patches = input.units(), tokens = input.rows;
  if (!config.vision_tower) {
    const VisionPatchConfig& c = *config.vision;
    return 2 * patches * c.embed_dim * (static_cast<double>(c.patch_values()) + config.dim);
  }
  const VisionTowerConfig& c = *config.vision_tower;
  const double dim = c.dim, width = c.heads * c.head_dim;
  const double layer = 2 * patches * (4 * dim * width + 3 * dim * c.ffn_hidden) + 4 * patches * patches * width;
  return 2 * patches * c.patch_values() * dim + c.layers * layer + 2 * tokens * dim * config.dim;
}

double sound_flop(const ModelConfig& config, const MediaInput& input) {
  const double tokens = input.rows;
  if (!config.audio_tower) return 2 * tokens * config.audio->samples_per_token * config.dim;
  const AudioTowerConfig& c = *config.audio_tower;
  const double dim = c.dim;
  // A quarter of the first convolution's outputs is a token's: 2 rows by half the bands; of the second, 1 by a quarter.
  const double convolutions = 9.0 * c.bands * (2.0 * c.bands / 2 + static_cast<double>(c.channels) * c.bands / 4) +
                              static_cast<double>(c.flat_width()) * dim;
  // Two feed-forward networks, four products of attention, 2 + 1 around the light convolution.
  const double layer = dim * (4.0 * c.ffn_hidden() + 7 * dim + c.taps) + 3.0 * c.keys * dim;
  return 2 * tokens * (convolutions + c.layers * layer + c.output_dim * (dim + config.dim));
}

Result<Measurement> measure(Model& model, const MediaInput& input, std::string name, double flop, int32_t repeat) {
  ASSIGN_OR_RETURN(const TensorView out,
                   model.ops().allocate(input.rows, model.config().dim, model.ops().activation_type()));
  std::vector<double> seconds;
  for (int32_t r = 0; r < repeat && !interrupted(); ++r) {
    const auto begin = std::chrono::steady_clock::now();
    model.soft_tokens().encode(input, 0, out);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  if (seconds.empty()) return Error{ErrorCode::kCancelled, "interrupted"};
  Measurement m{std::move(name), input.rows / median(seconds)};
  m.flop_per_token = flop / input.rows;
  return m;
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

Result<std::vector<Measurement>> measure_media(const ModelOptions& options, const std::vector<int32_t>& budgets,
                                               const std::vector<int32_t>& seconds, int32_t repeat) {
  ASSIGN_OR_RETURN(const EngineOptions engine, options.engine_options());
  ASSIGN_OR_RETURN(std::unique_ptr<Ops> ops, make_ops(engine.device, engine.ops));
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model,
                   Model::open(engine.model_path, std::move(ops), {.rows_max = 32}));
  ASSIGN_OR_RETURN(ProcessorOptions processor, model_processor_options(*model));
  if (!budgets.empty() && !model->config().takes_pictures())
    return Error{ErrorCode::kUnsupported, "--pictures: the model takes none"};
  if (!seconds.empty() && !model->config().takes_sound())
    return Error{ErrorCode::kUnsupported, "--sounds: the model takes none"};
  std::vector<Measurement> all;
  for (const int32_t budget : budgets) {
    processor.image.max_soft_tokens = budget;
    ASSIGN_OR_RETURN(const MediaInput input, noise_picture(processor.image));
    RETURN_IF_ERROR(check_media(model->config(), input));
    ASSIGN_OR_RETURN(Measurement m, measure(*model, input, fmt::format("picture {}", budget),
                                            picture_flop(model->config(), input), repeat));
    all.push_back(std::move(m));
  }
  for (const int32_t length : seconds) {
    ASSIGN_OR_RETURN(const MediaInput input, noise_sound(length, processor.audio));
    RETURN_IF_ERROR(check_media(model->config(), input));
    ASSIGN_OR_RETURN(Measurement m, measure(*model, input, fmt::format("sound {} s", length),
                                            sound_flop(model->config(), input), repeat));
    all.push_back(std::move(m));
  }
  return all;
}

}  // namespace lapidary::cli
