// The sound encoder against the reference layer by layer, on every back-end; the same bits however a clip is asked for;
// and what it refuses.
#include "model/audio_tower.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/mapped_file.h"
#include "files/safetensors.h"
#include "golden_support/backends.h"
#include "golden_support/golden_case.h"
#include "media/audio_file.h"
#include "media/processor_options.h"
#include "model/model.h"
#include "ops/select/select.h"

namespace lapidary {
namespace {

using testing::Backend;
using testing::GoldenCase;
using ::testing::HasSubstr;

const std::vector<std::string> kModels = {"e2b-audio", "e4b-audio"};
constexpr double kRelativeTolerance = 2e-4;  // of the largest value of the tensor, as in golden_test.cpp

std::unique_ptr<Model> open(const std::string& name, const std::string& device, int32_t threads = 2,
                            Precision precision = Precision::kFull) {
  auto ops = make_ops(device, {.threads = threads, .precision = precision, .kv_type = DType::kF32});
  CHECK(ops.has_value());
  auto model = Model::open(testing::golden_model(name), std::move(*ops), {.rows_max = 8});
  EXPECT_TRUE(model.has_value()) << model.error().message;
  return std::move(*model);
}

std::vector<float> read(Ops& ops, TensorView x) {
  std::vector<float> values(static_cast<size_t>(x.rows) * static_cast<size_t>(x.cols));
  ops.read(x, values);
  return values;
}

// Soft tokens of rows [begin, begin + rows).
std::vector<float> encode(Model& model, const MediaInput& input, int32_t begin, int32_t rows) {
  const TensorView out = *model.ops().allocate(rows, model.config().dim, model.ops().activation_type());
  model.soft_tokens().encode(input, begin, out);
  return read(model.ops(), out);
}

void expect_close(const std::vector<float>& ours, const std::vector<float>& expected, const std::string& what) {
  ASSERT_EQ(ours.size(), expected.size()) << what;
  double largest = 0, error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double have = static_cast<double>(ours[i]), want = static_cast<double>(expected[i]);
    largest = std::max(largest, std::abs(want));
    error = std::isnan(have) ? INFINITY : std::max(error, std::abs(have - want));
  }
  EXPECT_LE(error, kRelativeTolerance * largest) << what;
}

// The same as sounds.formula() in scripts/golden.
std::vector<float> formula(int64_t samples) {
  std::vector<float> wave(static_cast<size_t>(samples));
  for (int64_t n = 0; n < samples; ++n) {
    const int64_t noise = (n * n % 7919 * 31 + n * 17) % 8191 - 4095;
    wave[static_cast<size_t>(n)] = static_cast<float>(noise * (1 + n / 32000 % 4)) / 32768.0f;
  }
  return wave;
}

MediaInput clip(const std::string& model, int64_t samples) {
  const auto options = read_processor_options(testing::golden_model(model));
  CHECK(options.has_value());
  auto input = audio_input(formula(samples), options->audio);
  CHECK(input.has_value());
  return std::move(*input);
}

TEST(AudioTower, EveryLayerOnEveryBackend) {
  for (const std::string& name : kModels) {
    int32_t checked = 0;
    for (const Backend& backend : testing::backends()) {
      const testing::ForcedLevel forced(backend);
      const auto model = open(name, backend.device);
      ASSERT_NE(model, nullptr);
      std::map<int32_t, std::vector<float>> layers;
      ASSERT_NE(model->soft_tokens().audio_tower(), nullptr);
      model->soft_tokens().audio_tower()->set_probe(
          [&](int32_t layer, TensorView x) { layers[layer] = read(model->ops(), x); });
      for (const std::string& case_name : testing::golden_case_names(name)) {
        const GoldenCase golden = testing::load_golden_case(name, case_name);
        if (!golden.has("audio.subsampled")) continue;
        const std::string where = fmt::format("{} on {}: ", golden.id(), backend.name());
        encode(*model, *golden.media.at(0).input, 0, golden.media[0].input->rows);
        expect_close(layers.at(-1), golden.values("audio.subsampled"), where + "subsampled");
        const int32_t count = model->config().audio_tower->layers;
        for (int32_t l = 0; l < count; ++l) {
          expect_close(layers.at(l), golden.values(fmt::format("audio.layers.{}", l)),
                       where + fmt::format("layer {}", l));
        }
        expect_close(layers.at(count), golden.values("audio.output"), where + "output");
        ++checked;
      }
    }
    EXPECT_GE(checked, 5 * 3);
  }
}

TEST(AudioTower, TheLongestClip) {
  for (const std::string& name : kModels) {
    MappedFile file = *MappedFile::open(testing::golden_folder() / "audio" / (name + "-limit.safetensors"));
    Checkpoint golden;
    std::vector<TensorEntry> tensors = *parse_safetensors(file.bytes(), name);
    ASSERT_TRUE(golden.add(std::move(file), std::move(tensors)));
    const auto values = [&](const std::string& tensor) {
      const TensorEntry* entry = golden.find(tensor);
      CHECK(entry != nullptr);
      std::vector<float> out(static_cast<size_t>(entry->elements()));
      std::memcpy(out.data(), entry->bytes.data(), entry->bytes.size());
      return out;
    };
    const MediaInput input = clip(name, 480'000);
    ASSERT_EQ(input.rows, 750);
    const auto model = open(name, "cpu");
    ASSERT_TRUE(check_media(model->config(), input));
    const std::vector<float> soft = encode(*model, input, 0, 750);
    const size_t width = static_cast<size_t>(model->config().dim);
    std::vector<float> kept;
    for (const size_t row : {0, 1, 11, 12, 13, 374, 748, 749}) {
      kept.insert(kept.end(), soft.begin() + static_cast<std::ptrdiff_t>(row * width),
                  soft.begin() + static_cast<std::ptrdiff_t>((row + 1) * width));
    }
    expect_close(kept, values("soft_tokens"), name);
  }
}

// Pieces of a prompt may begin and end inside a clip; two clips may take turns.
TEST(AudioTower, TheSameBitsInPiecesAndOnThreads) {
  for (const std::string& name : kModels) {
    for (const Backend& backend : testing::backends()) {
      const testing::ForcedLevel forced(backend);
      const MediaInput input = clip(name, 40'000),
                       other = clip(name, 9'000);  // 63 tokens: two pieces of the subsampling
      const auto one = open(name, backend.device, 1), three = open(name, backend.device, 3);
      const std::vector<float> whole = encode(*one, input, 0, input.rows);
      EXPECT_EQ(encode(*three, input, 0, input.rows), whole) << backend.name();
      std::vector<float> pieces;
      for (int32_t begin = 0; begin < input.rows; begin += 17) {
        const std::vector<float> piece = encode(*one, input, begin, std::min(17, input.rows - begin));
        pieces.insert(pieces.end(), piece.begin(), piece.end());
        encode(*one, other, 0, other.rows);
      }
      EXPECT_EQ(pieces, whole) << backend.name();
    }
  }
}

// What a token is does not depend on what follows more than three mel rows later.
TEST(AudioTower, LooksAheadThreeMelRowsAndNoFurther) {
  const auto model = open("e2b-audio", "cpu");
  const MediaInput input = clip("e2b-audio", 16'000);
  const std::vector<float> whole = encode(*model, input, 0, input.rows);
  const size_t width = static_cast<size_t>(model->config().dim);
  for (const int32_t tokens : {1, 11, 12, 13, 20}) {
    MediaInput start = input;
    start.value_rows = 4 * tokens;  // token t reads mel rows up to 4 t + 3
    start.rows = tokens;
    start.values.resize(static_cast<size_t>(start.value_rows) * static_cast<size_t>(start.cols));
    start.content_hash = input.content_hash + static_cast<uint64_t>(tokens);
    const std::vector<float> alone = encode(*model, start, 0, tokens);
    const std::vector<float> same(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(alone.size()));
    EXPECT_EQ(alone, same) << tokens;
    start.values[static_cast<size_t>((4 * tokens - 1) * start.cols + 5)] += 1.0f;  // the last row it reads
    ++start.content_hash;
    const std::vector<float> changed = encode(*model, start, 0, tokens);
    EXPECT_NE(std::vector<float>(changed.end() - static_cast<std::ptrdiff_t>(width), changed.end()),
              std::vector<float>(alone.end() - static_cast<std::ptrdiff_t>(width), alone.end()));
  }
}

TEST(AudioTower, RefusesWhatItCannotRead) {
  const auto model = open("e4b-audio", "cpu");
  const ModelConfig& config = model->config();
  const MediaInput good = clip("e4b-audio", 5'000);
  EXPECT_TRUE(check_media(config, good));
  const auto message = [&](auto change) {
    MediaInput input = good;
    change(input);
    const auto checked = check_media(config, input);
    EXPECT_FALSE(checked);
    return checked ? "accepted" : checked.error().message;
  };
  EXPECT_THAT(message([](MediaInput& input) { input.cols = 128; }), HasSubstr("expected mel rows of 32 bands, found"));
  EXPECT_THAT(message([](MediaInput& input) { input.values.pop_back(); }), HasSubstr("expected mel rows of 32 bands"));
  EXPECT_THAT(message([](MediaInput& input) { input.value_rows = 0; }), HasSubstr("expected mel rows of 32 bands"));
  EXPECT_THAT(message([](MediaInput& input) { ++input.rows; }),
              HasSubstr("expected a soft token for every four mel rows and at most 750, found 9 for 31 rows"));
  EXPECT_THAT(message([](MediaInput& input) {
                input.value_rows = 3001;
                input.rows = 751;
                input.values.assign(size_t{3001} * 32, 0.0f);
              }),
              HasSubstr("at most 750, found 751 for 3001 rows"));
}

}  // namespace
}  // namespace lapidary
