// The media room against tests/golden/media, which the reference's own processor wrote.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "base/json.h"
#include "base/mapped_file.h"
#include "media/audio_file.h"
#include "media/image_file.h"
#include "media/patches.h"
#include "media/resize.h"
#include "media/test_files.h"
#include "media/video_file.h"

namespace lapidary {
namespace {

std::filesystem::path golden() { return std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/media"; }

Json json_of(const std::string& name) {
  const auto text = read_file(golden() / name, 16 << 20);
  EXPECT_TRUE(text) << text.error().message;
  const auto document = parse_json(*text, name);
  EXPECT_TRUE(document) << document.error().message;
  return *document;
}

Image picture(const std::filesystem::path& path) {
  const auto image = decode_image(read_bytes(path), path.filename().string());
  EXPECT_TRUE(image) << image.error().message;
  return image ? *image : Image{};
}

// A tensor of a safetensors file: 8 bytes of header length, the header, the data.
template <class T>
std::vector<T> tensor(const std::string& file, const std::string& name) {
  const Bytes bytes = read_bytes(golden() / file);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const auto header = parse_json({reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes}, file);
  EXPECT_TRUE(header && header->contains(name)) << name;
  const auto begin = (*header)[name]["data_offsets"][0].get<size_t>(),
             end = (*header)[name]["data_offsets"][1].get<size_t>();
  std::vector<T> values((end - begin) / sizeof(T));
  std::memcpy(values.data(), bytes.data() + 8 + header_bytes + begin, end - begin);
  return values;
}

TEST(Golden, Pictures) {
  const Json pictures = json_of("pictures/pictures.json");
  ASSERT_GE(pictures.size(), 20u);
  for (const Json& entry : pictures) {
    const std::string name = entry["file"];
    const Image found = picture(golden() / "pictures" / name);
    const Image expected = picture(golden() / "pictures/pixels" / (name + ".png"));
    EXPECT_EQ(found.width, entry["width"].get<int32_t>()) << name;
    EXPECT_EQ(found.height, entry["height"].get<int32_t>()) << name;
    EXPECT_TRUE(found.pixels == expected.pixels) << name;
  }
}

TEST(Golden, TargetSizes) {
  const Json sizes = json_of("target_sizes.json");
  ASSERT_GE(sizes.size(), 400u);
  for (const Json& entry : sizes) {
    const auto size = target_size(entry["width"], entry["height"], {16, 3, entry["budget"]});
    ASSERT_TRUE(size) << size.error().message;
    EXPECT_EQ(size->width, entry["resized_width"].get<int32_t>()) << entry.dump();
    EXPECT_EQ(size->height, entry["resized_height"].get<int32_t>()) << entry.dump();
    EXPECT_EQ(size->width / 48 * (size->height / 48), entry["soft_tokens"].get<int32_t>()) << entry.dump();
  }
}

TEST(Golden, ResamplingWeights) {
  for (const Json& entry : json_of("resample.json")) {
    const ResizeAxis axis = resize_axis(entry["in"], entry["out"]);
    EXPECT_EQ(axis.precision, entry["precision"].get<int32_t>()) << axis.in << " -> " << axis.out;
    for (const Json& row : entry["weights"]) {
      const auto output = row["index"].get<size_t>();
      const auto expected = row["values"].get<std::vector<int16_t>>();
      const auto first = row["first"].get<int32_t>();
      // The golden rows leave out weights of zero at the ends of a window.
      for (int32_t j = 0; j < axis.counts[output]; ++j) {
        const int32_t k = axis.starts[output] + j - first;
        const int16_t wanted = k >= 0 && k < std::ssize(expected) ? expected[k] : int16_t{0};
        EXPECT_EQ(axis.weights[output * axis.taps + j], wanted)
            << axis.in << " -> " << axis.out << ", output " << output;
      }
      EXPECT_LE(first + std::ssize(expected), axis.starts[output] + axis.counts[output]);
    }
  }
}

TEST(Golden, PlainResizes) {
  const Json resizes = json_of("plain.json");
  ASSERT_FALSE(resizes.empty());
  for (const Json& entry : resizes) {
    const Image found =
        resize_bicubic(picture(golden() / entry["file"].get<std::string>()), entry["width"], entry["height"]);
    EXPECT_TRUE(found.pixels == picture(golden() / entry["resized"].get<std::string>()).pixels) << entry.dump();
  }
}

TEST(Golden, ResizedForABudget) {
  const Json resizes = json_of("resized.json");
  ASSERT_FALSE(resizes.empty());
  for (const Json& entry : resizes) {
    const Image source = picture(golden() / "pictures" / entry["file"].get<std::string>());
    const auto size = target_size(source.width, source.height, {16, 3, entry["budget"]});
    ASSERT_TRUE(size);
    ASSERT_EQ(size->width, entry["width"].get<int32_t>());
    ASSERT_EQ(size->height, entry["height"].get<int32_t>());
    const Image found = resize_bicubic(source, size->width, size->height);
    const Image crop = picture(golden() / entry["crop"]["file"].get<std::string>());
    const auto left = entry["crop"]["x"].get<int32_t>(), top = entry["crop"]["y"].get<int32_t>();
    ASSERT_LE(left + crop.width, found.width);
    ASSERT_LE(top + crop.height, found.height);
    for (int32_t y = 0; y < crop.height; ++y) {
      ASSERT_EQ(std::memcmp(found.row(top + y) + left * 3, crop.row(y), crop.row_bytes()), 0)
          << entry.dump() << " row " << y;
    }
  }
}

TEST(Golden, Patches) {
  for (const auto& [name, file, budget] :
       {std::tuple{"rings-301x199-70", "rings-301x199.png", 70}, {"strip-13x977-140", "strip-13x977.png", 140}}) {
    const auto input = picture_patches(picture(golden() / "pictures" / file), MediaKind::kImage, {16, 3, budget});
    ASSERT_TRUE(input) << input.error().message;
    const auto tokens = tensor<int32_t>("patches.safetensors", std::string(name) + ".tokens");
    const auto patches = tensor<float>("patches.safetensors", std::string(name) + ".patches");
    const auto positions = tensor<int32_t>("patches.safetensors", std::string(name) + ".positions");
    ASSERT_EQ(patches.size(), tokens.size() * 6912);
    ASSERT_EQ(input->cols, 6912);
    for (size_t i = 0; i < tokens.size(); ++i) {
      ASSERT_LT(tokens[i], input->rows);
      EXPECT_EQ(input->positions[2 * tokens[i]], positions[2 * i]) << name;
      EXPECT_EQ(input->positions[2 * tokens[i] + 1], positions[2 * i + 1]) << name;
      EXPECT_TRUE(std::equal(patches.begin() + 6912 * i, patches.begin() + 6912 * (i + 1),
                             input->values.begin() + size_t{6912} * tokens[i]))
          << name;
    }
  }
}

TEST(Golden, Sounds) {
  const Json sounds = json_of("sounds/sounds.json");
  ASSERT_GE(sounds.size(), 10u);
  for (const Json& entry : sounds) {
    const std::string name = entry["file"];
    const auto wave = decode_audio(read_bytes(golden() / "sounds" / name), name);
    ASSERT_TRUE(wave) << wave.error().message;
    EXPECT_EQ(wave->source_rate, entry["rate"].get<int32_t>()) << name;
    EXPECT_EQ(wave->source_channels, entry["channels"].get<int32_t>()) << name;
    const auto expected = tensor<float>("sounds/samples.safetensors", name);
    ASSERT_EQ(wave->samples.size(), expected.size()) << name;
    EXPECT_EQ(audio_frames(wave->samples, {}).rows, entry["soft_tokens"].get<int32_t>()) << name;
    if (!entry["resampled"].get<bool>()) {
      EXPECT_EQ(wave->samples, expected) << name;
      continue;
    }
    // Another filter of the same bands: they differ where its transition band is, a thousandth of the sound at most.
    double difference = 0, power = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      difference += std::pow(wave->samples[i] - expected[i], 2);
      power += std::pow(expected[i], 2);
    }
    EXPECT_LT(std::sqrt(difference / power), 2e-3) << name;
  }
}

TEST(Golden, SampledFrames) {
  const Json clip = json_of("clip/clip.json");
  ASSERT_FALSE(clip["tables"].empty());
  for (const Json& table : clip["tables"]) {
    VideoOptions options;
    if (table.contains("frames")) options.num_frames = table["frames"];
    if (table.contains("per_second")) options.fps = table["per_second"].get<double>();
    EXPECT_EQ(sampled_frames(table["total"], table["fps"], options), table["indices"].get<std::vector<int64_t>>())
        << table.dump();
  }
}

TEST(Golden, Clip) {
  const Json document = json_of("clip/clip.json");
  VideoOptions options;
  options.fps = 2.0;
  const auto clip = decode_video(read_bytes(golden() / "clip/clip.mp4"), "clip.mp4", options);
  ASSERT_TRUE(clip) << clip.error().message;
  EXPECT_EQ(clip->source_frames, document["total"].get<int64_t>());
  EXPECT_EQ(clip->fps, document["fps"].get<double>());
  EXPECT_EQ(clip->frame_indices, document["samplings"]["per_second"]["indices"].get<std::vector<int64_t>>());
  for (size_t i = 0; i < clip->frames.size(); ++i) {
    char name[32];
    std::snprintf(name, sizeof(name), "clip/frame-%03d.png", static_cast<int>(clip->frame_indices[i]));
    const auto expected = picture_patches(picture(golden() / name), MediaKind::kVideo, options.frame());
    ASSERT_TRUE(expected);
    EXPECT_TRUE(clip->frames[i].values == expected->values) << name;
    EXPECT_EQ(clip->frames[i].content_hash, expected->content_hash);
  }
  const auto whole = decode_video(read_bytes(golden() / "clip/clip.mp4"), "clip.mp4", {});
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(whole->frame_indices, document["samplings"]["default"]["indices"].get<std::vector<int64_t>>());
}

}  // namespace
}  // namespace lapidary
