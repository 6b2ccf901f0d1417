// The vision tower against the reference implementation: patches as they enter, the stream after every layer, soft
// tokens, at every budget and on every back-end; what it refuses; and mistakes that must show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "golden_support/backends.h"
#include "model/tower_golden.h"

namespace lapidary {
namespace {

using testing::Backend;
using testing::encode;
using testing::GoldenPicture;
using ::testing::HasSubstr;
using testing::load_input;
using testing::open;

const std::vector<std::string>& models() {
  static const std::vector<std::string> names = {"e2b-vision", "e4b-vision", "a26b-vision", "d31b-vision"};
  return names;
}

class TowerGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(TowerGolden, EveryLayerAndSoftTokenOnEveryBackend) {
  const std::vector<std::filesystem::path> paths = testing::pictures_of(GetParam());
  ASSERT_GE(paths.size(), 3u);
  for (const Backend& backend : testing::backends()) {
    const testing::ForcedLevel forced(backend);
    const auto model = testing::open(GetParam(), backend.device, 2);
    double worst = 0;
    for (const std::filesystem::path& path : paths) {
      const GoldenPicture golden = testing::load_picture(path);
      // The oracle looks at every pair of patches one by one; vision_oracle_test has the large ones.
      if (backend.device == "reference" && golden.json["image_tokens"].get<int32_t>() > 280) continue;
      expect_picture(*model, GetParam(), golden, path.string() + " on " + backend.name(), worst);
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
