#include "files/model_dir.h"

#include <fmt/format.h>

#include <set>
#include <system_error>

#include "base/limits.h"
#include "files/safetensors.h"

namespace lapidary {
namespace {

Result<Json> read_json(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kLimits.config_bytes_max));
  return parse_json(text, path.string());
}

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

Result<std::optional<Json>> read_json_if_there(const std::filesystem::path& path) {
  if (!is_there(path)) return std::optional<Json>();
  ASSIGN_OR_RETURN(Json json, read_json(path));
  return std::optional<Json>(std::move(json));
}

Result<void> add_file(Checkpoint& weights, const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  ASSIGN_OR_RETURN(std::vector<TensorEntry> tensors, parse_safetensors(file.bytes(), path.string()));
  return weights.add(std::move(file), std::move(tensors));
}

Result<void> add_shards(Checkpoint& weights, const std::filesystem::path& folder,
                        const std::filesystem::path& index_path) {
  ASSIGN_OR_RETURN(const Json index, read_json(index_path));
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object()) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: expected a weight_map object", index_path.string())};
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    // A shard is a file beside the index; anything else would let a model read elsewhere.
    if (!shard.is_string() || shard.get_ref<const std::string&>().find('/') != std::string::npos ||
        shard.get_ref<const std::string&>().empty()) {
      return Error{ErrorCode::kCorruptFile, fmt::format("{}: weight_map: {}: expected a file name, found {}",
                                                        index_path.string(), name, dump_json(shard))};
    }
    shards.insert(shard.get<std::string>());
  }
  for (const std::string& shard : shards) RETURN_IF_ERROR(add_file(weights, folder / shard));
  for (const auto& [name, shard] : map->items()) {
    if (weights.find(name) == nullptr) {
      return Error{ErrorCode::kCorruptFile, fmt::format("{}: {} should hold tensor {}, which is not there",
                                                        index_path.string(), shard.get<std::string>(), name)};
    }
  }
  return {};
}

}  // namespace

Result<ModelDir> open_model_dir(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!is_there(path))
    return Error{ErrorCode::kNotFound, fmt::format("model {}: no such file or directory", path.string())};
  if (!std::filesystem::is_directory(path, ignored)) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("model {}: expected a directory with config.json and model.safetensors, found a file",
                             path.string())};
  }
  ModelDir dir;
  dir.path = path;
  ASSIGN_OR_RETURN(dir.config, read_json(path / "config.json"));
  ASSIGN_OR_RETURN(dir.generation_config, read_json_if_there(path / "generation_config.json"));
  ASSIGN_OR_RETURN(dir.processor_config, read_json_if_there(path / "processor_config.json"));
  const std::filesystem::path index = path / "model.safetensors.index.json", single = path / "model.safetensors";
  if (is_there(index)) {
    RETURN_IF_ERROR(add_shards(dir.weights, path, index));
  } else if (is_there(single)) {
    RETURN_IF_ERROR(add_file(dir.weights, single));
  } else {
    return Error{
        ErrorCode::kNotFound,
        fmt::format("model {}: neither model.safetensors nor model.safetensors.index.json is there", path.string())};
  }
  return dir;
}

}  // namespace lapidary
