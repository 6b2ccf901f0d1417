#include "golden_support/golden_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "base/mapped_file.h"
#include "files/safetensors.h"
#include "media/image_file.h"
#include "media/media_loader.h"
#include "media/patches.h"
#include "media/processor_options.h"
#include "model/config.h"

namespace lapidary::testing {
namespace {

template <class T>
T must(Result<T> result, const std::string& what) {
  if (!result) {
    fmt::print(stderr, "golden files: {}: {}\n", what, result.error().message);
    std::abort();
  }
  return std::move(result).value();
}

// The runs of positions whose type is image (1), video (2) or audio (3), in order.
std::vector<MediaSpan> spans_of(const std::vector<int32_t>& types) {
  std::vector<MediaSpan> spans;
  for (size_t p = 0; p < types.size(); ++p) {
    if (types[p] == 0) continue;
    if (p == 0 || types[p - 1] != types[p])
      spans.push_back({static_cast<int32_t>(p), static_cast<int32_t>(p), nullptr});
    spans.back().end = static_cast<int32_t>(p) + 1;
  }
  return spans;
}

// The inputs of each kind, in the order of the prompt.
struct Inputs {
  std::vector<MediaInput> images, frames, clips;
};

Inputs load_inputs(const Json& json, const std::filesystem::path& model) {
  const std::filesystem::path media = golden_folder() / "media";
  ProcessorOptions options = must(read_processor_options(model), "processor_config.json");
  const std::string config_file = (model / "config.json").string();
  const Json config = must(parse_json(must(read_file(config_file, 1 << 20), config_file), config_file), config_file);
  const bool tower = must(read_model_config(config, config_file), config_file).vision_tower.has_value();
  options.image.tower_patches = options.video.tower_patches = tower;
  Inputs inputs;
  for (const Json& name : json["images"]) {
    // One budget for all pictures, or one for each.
    const Json& budget =
        json["image_tokens"].is_array() ? json["image_tokens"][inputs.images.size()] : json["image_tokens"];
    options.image.max_soft_tokens = budget.get<int32_t>();
    LoadedMedia loaded =
        must(load_image(media / "pictures" / name.get<std::string>(), options.image), name.get<std::string>());
    inputs.images.push_back(std::move(loaded.inputs.at(0)));
  }
  for (const Json& name : json["sounds"]) {
    LoadedMedia loaded =
        must(load_audio(media / "sounds" / name.get<std::string>(), options.audio), name.get<std::string>());
    inputs.clips.push_back(std::move(loaded.inputs.at(0)));
  }
  if (!json["clip"].is_null()) {
    // The decoder's exact pixels: video decoders differ in the last bit.
    std::vector<std::filesystem::path> frames;
    for (const auto& entry : std::filesystem::directory_iterator(media / "clip")) {
      if (entry.path().extension() == ".png") frames.push_back(entry.path());
    }
    std::sort(frames.begin(), frames.end());
    for (const std::filesystem::path& frame : frames) {
      const std::string bytes = must(read_file(frame, 1 << 26), frame.string());
      const Image image =
          must(decode_image(std::as_bytes(std::span(bytes.data(), bytes.size())), frame.string()), frame.string());
      inputs.frames.push_back(must(picture_patches(image, MediaKind::kVideo, options.video.frame()), frame.string()));
    }
  }
  return inputs;
}

}  // namespace

std::filesystem::path golden_folder() { return std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden"; }

std::filesystem::path golden_model(const std::string& model) { return golden_folder() / "models" / model; }

std::vector<std::string> golden_models() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder() / "cases"))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> golden_case_names(const std::string& model) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder() / "cases" / model)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<float> GoldenCase::values(const std::string& tensor) const {
  const TensorEntry* entry = tensors.find(tensor);
  CHECK(entry != nullptr && entry->element == "F32");
  std::vector<float> values(static_cast<size_t>(entry->elements()));
  std::memcpy(values.data(), entry->bytes.data(), entry->bytes.size());
  return values;
}

int32_t GoldenCase::width(const std::string& tensor) const {
  const TensorEntry* entry = tensors.find(tensor);
  CHECK(entry != nullptr && !entry->shape.empty());
  return static_cast<int32_t>(entry->elements() / std::max<int64_t>(entry->shape[0], 1));
}

GoldenCase load_golden_case(const std::string& model, const std::string& name) {
  const std::filesystem::path stem = golden_folder() / "cases" / model / name;
  GoldenCase golden{.model = model, .name = name};
  golden.json = must(parse_json(must(read_file(stem.string() + ".json", 1 << 26), name), name), name);
  MappedFile file = must(MappedFile::open(stem.string() + ".safetensors"), name);
  std::vector<TensorEntry> tensors = must(parse_safetensors(file.bytes(), name), name);
  CHECK(golden.tensors.add(std::move(file), std::move(tensors)));
  golden.prompt = golden.json["prompt_tokens"].get<std::vector<int32_t>>();
  golden.media = spans_of(golden.json["token_types"].get<std::vector<int32_t>>());
  const TensorEntry* rows = golden.tensors.find("rows");
  CHECK(rows != nullptr && rows->element == "I32");
  golden.rows.resize(static_cast<size_t>(rows->elements()));
  std::memcpy(golden.rows.data(), rows->bytes.data(), rows->bytes.size());

  Inputs inputs = load_inputs(golden.json, golden_model(model));
  const auto types = golden.json["token_types"].get<std::vector<int32_t>>();
  std::array<size_t, 4> next{};
  for (MediaSpan& span : golden.media) {
    const size_t type = static_cast<size_t>(types[static_cast<size_t>(span.begin)]);
    std::vector<MediaInput>& list = type == 1 ? inputs.images : type == 2 ? inputs.frames : inputs.clips;
    CHECK(next[type] < list.size());
    span.input = std::make_shared<const MediaInput>(std::move(list[next[type]++]));
    CHECK(span.input->rows == span.end - span.begin);
  }
  return golden;
}

}  // namespace lapidary::testing
