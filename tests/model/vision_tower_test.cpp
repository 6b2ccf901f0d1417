// The vision tower against the reference implementation: patches as they enter, the stream after every layer, soft
// tokens, at every budget and on every back-end; what it refuses; and mistakes that must show.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/mapped_file.h"
#include "files/safetensors.h"
#include "golden_support/backends.h"
#include "golden_support/golden_case.h"
#include "media/media_loader.h"
#include "media/processor_options.h"
#include "model/model.h"
#include "model/vision_tower.h"
#include "ops/select/select.h"

namespace lapidary {
namespace {

using testing::Backend;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

// The reference ran in float32; its rounding and ours, through three layers, are below 1e-5 of the largest value.
constexpr double kRelativeTolerance = 2e-5;

const std::vector<std::string>& models() {
  static const std::vector<std::string> names = {"e2b-vision", "e4b-vision", "a26b-vision", "d31b-vision"};
  return names;
}

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

std::vector<int32_t> ids_of(const Checkpoint& tensors, const std::string& name) {
  const TensorEntry* entry = tensors.find(name);
  CHECK(entry != nullptr && entry->element == "I32");
  std::vector<int32_t> ids(static_cast<size_t>(entry->elements()));
  std::memcpy(ids.data(), entry->bytes.data(), entry->bytes.size());
  return ids;
}

GoldenPicture load_picture(const fs::path& json_path) {
  GoldenPicture picture;
  picture.json = *parse_json(*read_file(json_path, 1 << 20), json_path.string());
  fs::path tensors_path = json_path;
  MappedFile file = *MappedFile::open(tensors_path.replace_extension(".safetensors"));
  std::vector<TensorEntry> tensors = *parse_safetensors(file.bytes(), json_path.string());
  CHECK(picture.tensors.add(std::move(file), std::move(tensors)));
  picture.patches = ids_of(picture.tensors, "patches");
  picture.tokens = ids_of(picture.tensors, "tokens");
  return picture;
}

std::vector<fs::path> pictures_of(const std::string& model) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(testing::golden_folder() / "towers" / model)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

MediaInput load_input(const std::string& model, const std::string& image, int32_t budget) {
  ImageOptions options = read_processor_options(testing::golden_model(model))->image;
  options.tower_patches = true;
  options.max_soft_tokens = budget;
  auto loaded = load_image(testing::golden_folder() / "media/pictures" / image, options);
  CHECK(loaded.has_value());
  return std::move(loaded->inputs.front());
}

std::unique_ptr<Model> open(const std::string& model, const std::string& device, int32_t threads,
                            Precision precision = Precision::kFull) {
  auto ops = make_ops(device, {.threads = threads, .precision = precision, .kv_type = DType::kF32});
  CHECK(ops.has_value());
  auto opened = Model::open(testing::golden_model(model), std::move(*ops), {.rows_max = 8});
  EXPECT_TRUE(opened) << opened.error().message;
  return std::move(*opened);
}

std::vector<float> read(Ops& ops, TensorView x) {
  std::vector<float> values(static_cast<size_t>(x.rows) * static_cast<size_t>(x.cols));
  ops.read(x, values);
  return values;
}

std::vector<float> encode(Model& model, const MediaInput& input) {
  const TensorView out = *model.ops().allocate(input.rows, model.config().dim, model.ops().activation_type());
  model.soft_tokens().encode(input, 0, out);
  return read(model.ops(), out);
}

// Largest |ours - golden| over the rows kept, as a fraction of the largest golden value.
double relative_error(const std::vector<float>& golden, const std::vector<int32_t>& rows,
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

class TowerGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(TowerGolden, EveryLayerAndSoftTokenOnEveryBackend) {
  const std::vector<fs::path> paths = pictures_of(GetParam());
  ASSERT_GE(paths.size(), 3u);
  for (const Backend& backend : testing::backends()) {
    const testing::ForcedLevel forced(backend);
    const auto model = open(GetParam(), backend.device, 2);
    double worst = 0;
    for (const fs::path& path : paths) {
      const GoldenPicture golden = load_picture(path);
      const int32_t budget = golden.json["image_tokens"].get<int32_t>();
      // The oracle looks at every pair of patches one by one: minutes, where there are ten thousand.
      if (backend.device == "reference" && budget > 280) continue;
      const MediaInput input = load_input(GetParam(), golden.json["image"].get<std::string>(), budget);
      ASSERT_EQ(input.rows, golden.json["soft_tokens"].get<int32_t>()) << path;
      ASSERT_EQ(input.units(), 9 * input.rows);
      ASSERT_TRUE(check_media(model->config(), input));
      const int32_t across = golden.json["patches_across"].get<int32_t>();
      EXPECT_EQ(input.positions[input.positions.size() - 2] + 1, across) << path;
      // The same pixels in the same order, bit for bit.
      const std::vector<float> pixels = golden.values("pixels");
      const size_t kept = pixels.size() / golden.patches.size();
      for (size_t i = 0; i < golden.patches.size(); ++i) {
        const size_t at = static_cast<size_t>(golden.patches[i]) * static_cast<size_t>(input.cols);
        for (size_t c = 0; c < kept; ++c) {
          ASSERT_EQ(input.values[at + c], pixels[i * kept + c]) << path << " patch " << golden.patches[i];
        }
      }
      std::map<int32_t, std::vector<float>> layers;
      model->soft_tokens().vision_tower()->set_probe(
          [&](int32_t layer, TensorView x) { layers[layer] = read(model->ops(), x); });
      const std::vector<float> soft = encode(*model, input);
      for (const auto& [layer, values] : layers) {
        const double error = relative_error(golden.values(fmt::format("layers.{}", layer)), golden.patches, values);
        EXPECT_LE(error, kRelativeTolerance) << path << " layer " << layer << " on " << backend.name();
        worst = std::max(worst, error);
      }
      ASSERT_EQ(layers.size(), static_cast<size_t>(model->config().vision_tower->layers) + 1);
      const double error = relative_error(golden.values("soft_tokens"), golden.tokens, soft);
      EXPECT_LE(error, kRelativeTolerance) << path << " on " << backend.name();
      worst = std::max(worst, error);
    }
    std::printf("%s on %s: largest relative error %.2g\n", GetParam().c_str(), backend.name().c_str(), worst);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TowerGolden, ::testing::ValuesIn(models()), [](const auto& model) {
  std::string name = model.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(VisionTower, SameBitsOnAnyNumberOfThreadsAndAfterOtherPictures) {
  for (const Backend& backend : testing::backends()) {
    if (backend.device == "reference") continue;
    const testing::ForcedLevel forced(backend);
    for (const Precision precision : {Precision::kFast, Precision::kFull}) {
      const MediaInput input = load_input("d31b-vision", "rings-301x199.png", 70);
      const auto alone = open("d31b-vision", backend.device, 1, precision);
      const std::vector<float> expected = encode(*alone, input);
      for (const int32_t threads : {2, 3}) {
        const auto model = open("d31b-vision", backend.device, threads, precision);
        encode(*model, load_input("d31b-vision", "strip-13x977.png", 140));
        EXPECT_EQ(encode(*model, input), expected) << backend.name() << ", " << threads << " threads";
      }
    }
  }
}

std::string refusal(const VisionTowerConfig& config, const MediaInput& input) {
  const auto checked = check_tower_picture(config, input);
  return checked ? "accepted" : checked.error().message;
}

TEST(VisionTower, RefusesPicturesThatDoNotFit) {
  const auto model = open("e2b-vision", "cpu", 1);
  const VisionTowerConfig& config = *model->config().vision_tower;
  const MediaInput good = load_input("e2b-vision", "rings-301x199.png", 70);  // 30 x 18 patches
  EXPECT_EQ(refusal(config, good), "accepted");
  MediaInput input = good;
  input.value_rows = 0;
  EXPECT_THAT(refusal(config, input), HasSubstr("expected 540 patches of 768 values for 60 soft tokens, found 60"));
  input = good;
  input.values.pop_back();
  EXPECT_THAT(refusal(config, input), HasSubstr("expected 540 patches of 768 values"));
  input = good;
  std::swap(input.positions[0], input.positions[2]);
  EXPECT_THAT(refusal(config, input), HasSubstr("expected patch 0 at column 0, row 0, found 1, 0"));
  input = good;
  input.positions[input.positions.size() - 2] = 26;
  input.positions.back() = 19;  // 27 x 20
  EXPECT_THAT(refusal(config, input), HasSubstr("sides are multiples of 3, found 27x20"));
  input.positions[input.positions.size() - 2] = INT32_MAX;
  EXPECT_THAT(refusal(config, input), HasSubstr("multiples of 3, found 2147483648x20"));
  VisionTowerConfig narrow = config;
  narrow.positions = 29;
  EXPECT_THAT(refusal(narrow, good), HasSubstr("30x18 patches lie outside the model's 29 positions"));
  input = good;
  input.rows = 1121;
  EXPECT_THAT(refusal(config, input), HasSubstr("expected 1 to 1120 soft tokens, found 1121"));
  // Pictures cut for the encoder-free variant are none of a tower's.
  ImageOptions whole = read_processor_options(testing::golden_model("e2b-vision"))->image;
  const auto loaded = load_image(testing::golden_folder() / "media/pictures/rgb.png", whole);
  ASSERT_TRUE(loaded);
  EXPECT_THAT(refusal(config, loaded->inputs.front()), HasSubstr("patches of 768 values"));
}

}  // namespace
}  // namespace lapidary
