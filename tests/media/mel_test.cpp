// Log-mel rows: numbers worked out by hand, the reference's own for every golden sound, and the borders of frames.
#include "media/mel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <numbers>

#include "base/json.h"
#include "media/audio_file.h"
#include "media/media_loader.h"
#include "media/test_files.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

std::filesystem::path sounds() { return std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/media/sounds"; }

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// Every F32 tensor of a safetensors file: 8 bytes of header length, the header, the data.
std::map<std::string, Tensor> tensors(const std::string& file) {
  const Bytes bytes = read_bytes(sounds() / file);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const auto header = parse_json({reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes}, file);
  EXPECT_TRUE(header) << file;
  std::map<std::string, Tensor> found;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__" || entry["dtype"] != "F32") continue;
    const auto begin = entry["data_offsets"][0].get<size_t>(), end = entry["data_offsets"][1].get<size_t>();
    Tensor& tensor = found[name];
    tensor.shape = entry["shape"].get<std::vector<int64_t>>();
    tensor.values.resize((end - begin) / sizeof(float));
    if (begin == end) continue;  // memcpy takes no null pointer, not even for nothing
    std::memcpy(tensor.values.data(), bytes.data() + 8 + header_bytes + begin, end - begin);
  }
  return found;
}

std::vector<float> tone(int64_t samples) {
  std::vector<float> wave(samples);
  for (int64_t n = 0; n < samples; ++n)
    wave[n] = static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * 1000 * static_cast<double>(n) / kSampleRate));
  return wave;
}

// The same as sounds.formula() in scripts/golden.
std::vector<float> formula(int64_t samples) {
  std::vector<float> wave(samples);
  for (int64_t n = 0; n < samples; ++n) {
    const int64_t noise = (n * n % 7919 * 31 + n * 17) % 8191 - 4095;
    wave[n] = static_cast<float>(noise * (1 + n / 32000 % 4)) / 32768.0f;
  }
  return wave;
}

TEST(Mel, RowsNeedTheSampleAfterTheirFrame) {
  for (const auto& [samples, rows] : std::initializer_list<std::pair<int64_t, int32_t>>{{0, 0},
                                                                                        {1, 0},
                                                                                        {160, 0},
                                                                                        {161, 1},
                                                                                        {320, 1},
                                                                                        {321, 2},
                                                                                        {640, 3},
                                                                                        {641, 4},
                                                                                        {1280, 7},
                                                                                        {16'000, 99},
                                                                                        {16'001, 100},
                                                                                        {59'200, 369},
                                                                                        {480'000, 2999}}) {
    EXPECT_EQ(mel_rows(samples, {}), rows) << samples;
  }
}

TEST(Mel, ATone) {
  const std::vector<float> rows = log_mel(tone(1600), {});
  ASSERT_EQ(rows.size(), 9u * 128);
  const std::vector<std::pair<int, double>> first = {{0, -6.90776}, {1, -0.03515}, {2, -1.21870},  {20, -0.35802},
                                                     {30, 0.37581}, {40, 1.61813}, {43, 2.84524},  {44, 3.01294},
                                                     {45, 3.00698}, {50, 1.29537}, {80, -0.76550}, {127, -1.32641}},
                                            later = {{0, -6.90776},  {1, -5.72253},  {2, -6.38075},  {20, -6.04509},
                                                     {30, -4.72378}, {40, -0.57445}, {43, 3.12739},  {44, 3.63048},
                                                     {45, 3.60519},  {50, -1.60746}, {80, -6.57553}, {127, -6.89090}};
  for (const auto& [band, value] : first) EXPECT_NEAR(rows[band], value, 1e-5) << band;
  for (const int row : {1, 4}) {
    // The tone's own rounding to float32 shows where there is almost nothing of it.
    for (const auto& [band, value] : later) EXPECT_NEAR(rows[row * 128 + band], value, 2e-4) << row << " " << band;
  }
}

TEST(Mel, SilenceIsTheFloor) {
  for (const float value : log_mel(std::vector<float>(1000), {})) EXPECT_EQ(value, static_cast<float>(std::log(1e-3)));
}

// The reference rounds to float32 once or twice more on the way.
TEST(Mel, EqualsTheReferenceForEverySound) {
  const auto expected = tensors("mel.safetensors");
  ASSERT_GE(expected.size(), 20u);
  double worst = 0;
  for (const auto& [name, mel] : expected) {
    const size_t at = name.find('@');
    const std::string file = name.substr(0, at);
    auto wave = decode_audio(read_bytes(sounds() / file), file);
    ASSERT_TRUE(wave) << wave.error().message;
    if (at != std::string::npos) wave->samples.resize(std::stoi(name.substr(at + 1)));
    const std::vector<float> rows = log_mel(wave->samples, {});
    ASSERT_EQ(std::ssize(rows), std::ssize(mel.values)) << name;
    for (size_t i = 0; i < rows.size(); ++i) {
      ASSERT_NEAR(rows[i], mel.values[i], 5e-6) << name << " row " << i / 128 << " band " << i % 128;
      worst = std::max(worst, std::abs(static_cast<double>(rows[i]) - static_cast<double>(mel.values[i])));
    }
  }
  std::printf("largest difference of a log-mel value: %.2g\n", worst);
}

TEST(Mel, TheLongestClip) {
  const auto expected = tensors("mel-limit.safetensors");
  const std::vector<float> rows = log_mel(std::span<const float>(formula(480'700)).first(480'000), {});
  ASSERT_EQ(rows.size(), size_t{2999} * 128);  // the reference cuts at the same sample
  const std::vector<int> kept = {0, 1, 1499, 2997, 2998};
  const Tensor& mel = expected.at("mel");
  ASSERT_EQ(mel.values.size(), kept.size() * 128);
  for (size_t i = 0; i < mel.values.size(); ++i)
    ASSERT_NEAR(rows[size_t{128} * kept[i / 128] + i % 128], mel.values[i], 5e-6) << kept[i / 128];
}

TEST(Mel, InputsForAConformer) {
  AudioOptions options;
  options.mel = MelOptions{};
  for (const auto& [samples, tokens] : std::initializer_list<std::pair<int64_t, int32_t>>{
           {161, 1}, {640, 1}, {641, 1}, {1280, 2}, {8000, 13}, {16'000, 25}, {16'001, 25}, {480'000, 750}}) {
    const auto input = audio_input(std::vector<float>(samples, 0.25f), options);
    ASSERT_TRUE(input) << input.error().message;
    EXPECT_EQ(input->rows, tokens) << samples;
    EXPECT_EQ(input->value_rows, mel_rows(samples, {}));
    EXPECT_EQ(input->cols, 128);
    EXPECT_EQ(std::ssize(input->values), int64_t{128} * input->value_rows);
  }
  const auto refused = audio_input(std::vector<float>(160), options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("expected more than 160 samples of sound at 16000 Hz, found 160"));
  const auto file = load_audio(sounds() / "one-sample.wav", options);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("one-sample.wav: expected more than 160 samples"));

  const auto loud = audio_input(std::vector<float>(640, 0.25f), options),
             soft = audio_input(std::vector<float>(640, 0.125f), options),
             again = audio_input(std::vector<float>(640, 0.25f), options);
  EXPECT_NE(loud->content_hash, soft->content_hash);
  EXPECT_EQ(loud->content_hash, again->content_hash);
}

}  // namespace
}  // namespace lapidary
