// Pictures through a vision tower beside what the reference's tower made of them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "files/safetensors.h"
#include "golden_support/backends.h"
#include "golden_support/golden_case.h"
#include "media/media_loader.h"
#include "media/processor_options.h"
#include "model/model.h"
#include "model/vision_tower.h"
#include "ops/select/select.h"

namespace lapidary::testing {

// The reference ran in float32; its rounding and ours, through three layers, are below 1e-5 of the largest value.
inline constexpr double kTowerTolerance = 2e-5;

// What the reference's tower made of one picture.
struct GoldenPicture {
  Json json;
  Checkpoint tensors;
  std::vector<int32_t> patches, tokens;  // the rows kept

  std::vector<float> values(const std::string& name) const {
    const TensorEntry* entry = tensors.find(name);
    CHECK(entry != nullptr && entry->element == "F32");
    std::vector<float> all(static_cast<size_t>(entry->elements()));
    std::memcpy(all.data(), entry->bytes.data(), entry->bytes.size());
    return all;
  }
};

inline std::vector<int32_t> ids_of(const Checkpoint& tensors, const std::string& name) {
  const TensorEntry* entry = tensors.find(name);
  CHECK(entry != nullptr && entry->element == "I32");
  std::vector<int32_t> ids(static_cast<size_t>(entry->elements()));
  std::memcpy(ids.data(), entry->bytes.data(), entry->bytes.size());
  return ids;
}

inline GoldenPicture load_picture(const std::filesystem::path& json_path) {
  GoldenPicture picture;
  picture.json = *parse_json(*read_file(json_path, 1 << 20), json_path.string());
  std::filesystem::path tensors_path = json_path;
  MappedFile file = *MappedFile::open(tensors_path.replace_extension(".safetensors"));
  std::vector<TensorEntry> tensors = *parse_safetensors(file.bytes(), json_path.string());
  CHECK(picture.tensors.add(std::move(file), std::move(tensors)));
  picture.patches = ids_of(picture.tensors, "patches");
  picture.tokens = ids_of(picture.tensors, "tokens");
  return picture;
}

inline std::vector<std::filesystem::path> pictures_of(const std::string& model) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder() / "towers" / model)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

inline MediaInput load_input(const std::string& model, const std::string& image, int32_t budget) {
  ImageOptions options = read_processor_options(golden_model(model))->image;
  options.tower_patches = true;
  options.max_soft_tokens = budget;
  auto loaded = load_image(golden_folder() / "media/pictures" / image, options);
  CHECK(loaded.has_value());
  return std::move(loaded->inputs.front());
}

inline std::unique_ptr<Model> open(const std::string& model, const std::string& device, int32_t threads,
                                   Precision precision = Precision::kFull) {
  auto ops = make_ops(device, {.threads = threads, .precision = precision, .kv_type = DType::kF32});
  CHECK(ops.has_value());
  auto opened = Model::open(golden_model(model), std::move(*ops), {.rows_max = 8});
  EXPECT_TRUE(opened) << opened.error().message;
  return std::move(*opened);
}

inline std::vector<float> read(Ops& ops, TensorView x) {
  std::vector<float> values(static_cast<size_t>(x.rows) * static_cast<size_t>(x.cols));
  ops.read(x, values);
  return values;
}

inline std::vector<float> encode(Model& model, const MediaInput& input) {
  const TensorView out = *model.ops().allocate(input.rows, model.config().dim, model.ops().activation_type());
  model.soft_tokens().encode(input, 0, out);
  return read(model.ops(), out);
}

// Largest |ours - golden| over the rows kept, as a fraction of the largest golden value.
inline double relative_error(const std::vector<float>& golden, const std::vector<int32_t>& rows,
                             const std::vector<float>& ours) {
  const size_t width = golden.size() / rows.size();
  double worst = 0, largest = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t c = 0; c < width; ++c) {
      const double want = golden[i * width + c], have = ours[static_cast<size_t>(rows[i]) * width + c];
      worst = std::isnan(have) ? INFINITY : std::max(worst, std::abs(want - have));
      largest = std::max(largest, std::abs(want));
    }
  }
  return worst / largest;
}

// The patches, the stream after every layer and the soft tokens of one golden picture; the largest error among them, of
// the largest value.
inline void expect_picture(Model& model, const std::string& name, const GoldenPicture& golden, const std::string& where,
                           double& worst) {
  const MediaInput input =
      load_input(name, golden.json["image"].get<std::string>(), golden.json["image_tokens"].get<int32_t>());
  ASSERT_EQ(input.rows, golden.json["soft_tokens"].get<int32_t>()) << where;
  ASSERT_EQ(input.units(), 9 * input.rows);
  ASSERT_TRUE(check_media(model.config(), input));
  const int32_t across = golden.json["patches_across"].get<int32_t>();
  EXPECT_EQ(input.positions[input.positions.size() - 2] + 1, across) << where;
  // The same pixels in the same order, bit for bit.
  const std::vector<float> pixels = golden.values("pixels");
  const size_t kept = pixels.size() / golden.patches.size();
  for (size_t i = 0; i < golden.patches.size(); ++i) {
    const size_t at = static_cast<size_t>(golden.patches[i]) * static_cast<size_t>(input.cols);
    for (size_t c = 0; c < kept; ++c) {
      ASSERT_EQ(input.values[at + c], pixels[i * kept + c]) << where << " patch " << golden.patches[i];
    }
  }
  std::map<int32_t, std::vector<float>> layers;
  model.soft_tokens().vision_tower()->set_probe(
      [&](int32_t layer, TensorView x) { layers[layer] = read(model.ops(), x); });
  const std::vector<float> soft = encode(model, input);
  for (const auto& [layer, values] : layers) {
    const double error = relative_error(golden.values(fmt::format("layers.{}", layer)), golden.patches, values);
    EXPECT_LE(error, kTowerTolerance) << where << " layer " << layer;
    worst = std::max(worst, error);
  }
  ASSERT_EQ(layers.size(), static_cast<size_t>(model.config().vision_tower->layers) + 1);
  const double error = relative_error(golden.values("soft_tokens"), golden.tokens, soft);
  EXPECT_LE(error, kTowerTolerance) << where;
  worst = std::max(worst, error);
}

}  // namespace lapidary::testing
