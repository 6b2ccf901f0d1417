// A Hugging Face model directory: its configurations as JSON and its weights as one checkpoint.
#pragma once

#include <filesystem>
#include <optional>

#include "base/json.h"
#include "base/result.h"
#include "files/checkpoint.h"

namespace lapidary {

struct ModelDir {
  std::filesystem::path path;
  Json config;
  std::optional<Json> generation_config, processor_config;
  Checkpoint weights;

  std::string file(std::string_view name) const { return (path / name).string(); }
};

// Reads config.json (required), generation_config.json and processor_config.json (optional), and maps model.safetensors
// or the shards of model.safetensors.index.json. Errors: kNotFound (what was looked for), kCorruptFile.
Result<ModelDir> open_model_dir(const std::filesystem::path& path);

}  // namespace lapidary
