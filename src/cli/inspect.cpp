#include <fmt/format.h>

#include <map>
#include <memory>

#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/memory_plan.h"
#include "files/model_dir.h"
#include "model/decoder.h"

namespace lapidary::cli {
namespace {

struct InspectOptions {
  std::string path, format = "text";
  bool tensors = false;
};

struct Share {
  int64_t tensors = 0, elements = 0, bytes = 0;
};

std::string human_bytes(int64_t bytes) {
  if (bytes >= 1LL << 30) return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1LL << 30));
  if (bytes >= 1LL << 20) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1LL << 20));
  return fmt::format("{} B", bytes);
}

std::map<std::string, Share> shares(const Checkpoint& weights) {
  std::map<std::string, Share> by_format;
  for (const TensorEntry& tensor : weights.tensors()) {
    Share& share = by_format[tensor.element];
    ++share.tensors;
    share.elements += tensor.elements();
    share.bytes += static_cast<int64_t>(tensor.bytes.size());
  }
  return by_format;
}

struct KvBytes {
  int64_t sliding = 0, global = 0;  // per position
};

KvBytes kv_bytes(const ModelConfig& config) {
  const KvLayout layout = kv_layout(config);
  return {kv_page_bytes(layout.groups[0], DType::kBF16) / kPagePositions,
          kv_page_bytes(layout.groups[1], DType::kBF16) / kPagePositions};
}

Json vision_tower_json(const VisionTowerConfig& tower) {
  return {{"layers", tower.layers},   {"dim", tower.dim},
          {"heads", tower.heads},     {"head_dim", tower.head_dim},
          {"ffn", tower.ffn_hidden},  {"patch_pixels", tower.patch_pixels},
          {"pooling", tower.pooling}, {"positions", tower.positions},
          {"clipped", tower.clipped}, {"standardised", tower.standardised}};
}

// Pixels along one side of what becomes a soft token; 0: the model takes no pictures.
int32_t soft_token_pixels(const ModelConfig& config) {
  if (config.vision_tower) return config.vision_tower->patch_pixels * config.vision_tower->pooling;
  return config.vision ? config.vision->patch_pixels : 0;
}

Json as_json(const ModelDir& dir, const ModelConfig& config) {
  Json json = {{"path", dir.path.string()},
               {"variant", config.variant},
               {"dim", config.dim},
               {"layers", config.layers.size()},
               {"heads", config.heads},
               {"vocab", config.vocab},
               {"sliding_window", config.sliding_window},
               {"context", config.positions_max},
               {"bytes", dir.weights.bytes()}};
  for (const auto& [element, share] : shares(dir.weights)) {
    json["formats"][element] = {{"tensors", share.tensors}, {"values", share.elements}, {"bytes", share.bytes}};
  }
  const KvBytes kv = kv_bytes(config);
  json["kv_bytes_per_position"] = {{"format", "bf16"}, {"sliding", kv.sliding}, {"global", kv.global}};
  json["inputs"] = Json::array({"text"});
  if (config.takes_pictures()) json["inputs"].insert(json["inputs"].end(), {"image", "video"});
  if (config.vision_tower) json["vision_tower"] = vision_tower_json(*config.vision_tower);
  if (config.takes_sound()) json["inputs"].push_back("audio");
  if (const auto& tower = config.audio_tower) {
    json["audio_tower"] = {{"layers", tower->layers},   {"dim", tower->dim},   {"heads", tower->heads},
                           {"mel_bands", tower->bands}, {"keys", tower->keys}, {"clipped", tower->clipped}};
  }
  json["tensors"] = Json::array();
  for (const TensorEntry& tensor : dir.weights.tensors()) {
    json["tensors"].push_back(
        {{"name", tensor.name}, {"format", tensor.element}, {"shape", tensor.shape}, {"bytes", tensor.bytes.size()}});
  }
  return json;
}

std::string as_text(const ModelDir& dir, const ModelConfig& config, bool tensors) {
  const Style& style = stdout_style();
  std::string out = fmt::format("{}{}{}\n", style.bold, dir.path.string(), style.reset);
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("  {}{:<16}{} {}\n", style.dim, name, style.reset, value);
  };
  int32_t global = 0;
  for (const LayerSpec& layer : config.layers) global += layer.attention == AttentionKind::kGlobal ? 1 : 0;
  line("variant", config.variant);
  line("decoder", fmt::format("{} layers ({} sliding, {} global), width {}, {} heads, vocabulary {}",
                              config.layers.size(), static_cast<int32_t>(config.layers.size()) - global, global,
                              config.dim, config.heads, config.vocab));
  line("context", fmt::format("{} positions, sliding window {}", config.positions_max, config.sliding_window));
  line("inputs", fmt::format("text{}{}",
                             config.takes_pictures()
                                 ? fmt::format(", images and video ({0}x{0} pixels a token)", soft_token_pixels(config))
                                 : "",
                             config.audio ? fmt::format(", audio ({} samples a token)", config.audio->samples_per_token)
                             : config.audio_tower ? ", audio (40 ms a token)"
                                                  : ""));
  if (config.vision_tower) {
    const VisionTowerConfig& tower = *config.vision_tower;
    line("vision tower", fmt::format("{} layers, width {}, {} heads of {}, {}x{} pixel patches, {} of them a token{}{}",
                                     tower.layers, tower.dim, tower.heads, tower.head_dim, tower.patch_pixels,
                                     tower.patch_pixels, tower.patches_per_token(), tower.clipped ? ", clipped" : "",
                                     tower.standardised ? ", standardised" : ""));
  }
  if (const auto& tower = config.audio_tower) {
    line("audio tower", fmt::format("conformer of {} layers, width {}, {} heads over {} rows, {} mel bands",
                                    tower->layers, tower->dim, tower->heads, tower->keys, tower->bands));
  }
  for (const auto& [element, share] : shares(dir.weights)) {
    line(element, fmt::format("{} tensors, {:.3f} M values, {}", share.tensors,
                              static_cast<double>(share.elements) / 1e6, human_bytes(share.bytes)));
  }
  line("weights", human_bytes(dir.weights.bytes()));
  const KvBytes kv = kv_bytes(config);
  line("K/V in bf16", fmt::format("{} B a position on global layers, {} B on sliding ones (last {} positions)",
                                  kv.global, kv.sliding, config.sliding_window));
  for (const int32_t context : {4096, 32768, 131072, 262144}) {
    if (context > config.positions_max) break;
    const int64_t bytes = kv.global * context + kv.sliding * std::min(context, config.sliding_window);
    line(fmt::format("at {}", context), fmt::format("weights + K/V {}", human_bytes(dir.weights.bytes() + bytes)));
  }
  if (tensors) {
    out += "\n";
    for (const TensorEntry& tensor : dir.weights.tensors())
      out += fmt::format("  {:<8} {:<20} {}\n", tensor.element, shape_text(tensor.shape), tensor.name);
  }
  return out;
}

int inspect(const InspectOptions& options) {
  const auto path = options.path.empty() ? shipped_model_path() : Result<std::string>(options.path);
  if (!path) return fail(path.error());
  const auto dir = open_model_dir(*path);
  if (!dir) return fail(dir.error());
  const auto config = read_model_config(dir->config, dir->file("config.json"));
  if (!config) return fail(config.error());
  write_out(options.format == "json" ? dump_json(as_json(*dir, *config)) + "\n"
                                     : as_text(*dir, *config, options.tensors));
  return kExitDone;
}

}  // namespace

void add_inspect(CLI::App& program, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = add_command(program, "inspect",
                                  "What a model holds: variant, formats, bytes, tensors, memory.\n\n"
                                  "  lapidary inspect\n"
                                  "  lapidary inspect ~/models/gemma-4-12B-it --tensors");
  command->add_option("FILE", options->path, "model directory (the shipped demo model)");
  command->add_flag("--tensors", options->tensors, "list every tensor");
  command->add_option("--format", options->format, "text or json (json lists every tensor)")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->callback([=, &action] { action = [=] { return inspect(*options); }; });
}

}  // namespace lapidary::cli
