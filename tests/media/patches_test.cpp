#include "media/patches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "media/resize.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

struct SizeCase {
  int32_t width, height, budget, target_width, target_height;
};

void expect_size(const SizeCase& c) {
  const auto size = target_size(c.width, c.height, {16, 3, c.budget});
  ASSERT_TRUE(size) << size.error().message;
  EXPECT_EQ(size->width, c.target_width) << c.width << "x" << c.height << " at " << c.budget;
  EXPECT_EQ(size->height, c.target_height) << c.width << "x" << c.height << " at " << c.budget;
}

TEST(TargetSize, CommonShapesAtEveryBudget) {
  const struct {
    std::vector<std::pair<int32_t, int32_t>> sources;
    std::array<std::pair<int32_t, int32_t>, 5> targets;
  } rows[] = {
      {{{1024, 768}, {640, 480}, {4032, 3024}}, {{{432, 336}, {624, 480}, {912, 672}, {1296, 960}, {1824, 1344}}}},
      {{{768, 1024}}, {{{336, 432}, {480, 624}, {672, 912}, {960, 1296}, {1344, 1824}}}},
      {{{1920, 1080}, {1280, 720}, {3840, 2160}}, {{{528, 288}, {720, 384}, {1056, 576}, {1488, 816}, {2112, 1200}}}},
      {{{1, 1}, {500, 500}, {8000, 8000}}, {{{384, 384}, {528, 528}, {768, 768}, {1104, 1104}, {1584, 1584}}}},
      {{{1024, 256}}, {{{768, 192}, {1104, 240}, {1584, 384}, {2256, 528}, {3168, 768}}}},
      {{{960, 672}}, {{{480, 336}, {672, 432}, {960, 672}, {1344, 912}, {1920, 1344}}}},
      {{{900, 3}, {300, 1}}, {{{3360, 48}, {6720, 48}, {13440, 48}, {19632, 48}, {27792, 48}}}},
  };
  for (const auto& row : rows) {
    for (const auto& [width, height] : row.sources) {
      for (size_t b = 0; b < kSoftTokenBudgets.size(); ++b) {
        expect_size({width, height, kSoftTokenBudgets[b], row.targets[b].first, row.targets[b].second});
      }
    }
  }
}

// Whole numbers of sides on paper; in double some fall just below.
TEST(TargetSize, RoundingInDouble) {
  for (const SizeCase& c : {SizeCase{440, 308, 280, 912, 672},
                            {680, 476, 280, 912, 624},
                            {308, 440, 280, 672, 912},
                            {1820, 650, 280, 1296, 432},
                            {220, 154, 70, 432, 336},
                            {1360, 952, 70, 432, 288},
                            {960, 672, 280, 960, 672}}) {
    expect_size(c);
  }
}

TEST(TargetSize, VideoFrames) {
  for (const SizeCase& c : {SizeCase{1080, 1920, 70, 288, 528},
                            {480, 848, 70, 288, 528},
                            {1440, 1080, 70, 432, 336},
                            {2560, 1080, 70, 576, 240},
                            {7, 7, 70, 384, 384}}) {
    expect_size(c);
  }
}

TEST(TargetSize, OtherBudgetsAreRefused) {
  for (const int32_t budget : {0, -70, 71, 256, 1119, 2240}) {
    const auto size = target_size(100, 100, {16, 3, budget});
    ASSERT_FALSE(size);
    EXPECT_EQ(size.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(size.error().message, HasSubstr("expected 70, 140, 280, 560 or 1120, found " + std::to_string(budget)));
  }
}

// No shape within the pixel limit may exceed the budget or come out empty.
TEST(TargetSize, AllShapesStayInBudget) {
  for (const int32_t budget : kSoftTokenBudgets) {
    for (int32_t width : {1, 2, 3, 5, 17, 48, 331, 1000, 8000, 65'000, 1'000'000, 64'000'000}) {
      for (int32_t height : {1, 2, 3, 7, 48, 333, 999, 8000, 64'000}) {
        if (int64_t{width} * height > 64'000'000) continue;
        const auto size = target_size(width, height, {16, 3, budget});
        ASSERT_TRUE(size) << size.error().message;
        EXPECT_GE(size->width, 48);
        EXPECT_GE(size->height, 48);
        EXPECT_EQ(size->width % 48, 0);
        EXPECT_EQ(size->height % 48, 0);
        EXPECT_LE(int64_t{size->width} * size->height, int64_t{budget} * 2304) << width << "x" << height;
      }
    }
  }
}

Image counting(int32_t width, int32_t height) {
  Image image{width, height, {}};
  image.pixels.resize(static_cast<size_t>(width) * height * 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 31 + i / 251);
  return image;
}

// A picture that needs no resizing shows the order of patches and features.
TEST(Patches, OrderOfPatchesAndFeatures) {
  const Image image = counting(960, 672);
  const auto input = picture_patches(image, MediaKind::kImage, {});
  ASSERT_TRUE(input);
  EXPECT_EQ(input->rows, 20 * 14);
  EXPECT_EQ(input->cols, 48 * 48 * 3);
  EXPECT_EQ(input->source_width, 960);
  EXPECT_EQ(input->source_height, 672);
  ASSERT_EQ(input->values.size(), static_cast<size_t>(input->rows) * input->cols);
  ASSERT_EQ(input->positions.size(), static_cast<size_t>(input->rows) * 2);
  for (int32_t patch = 0; patch < input->rows; ++patch) {
    const int32_t x = patch % 20, y = patch / 20;
    ASSERT_EQ(input->positions[2 * patch], x);
    ASSERT_EQ(input->positions[2 * patch + 1], y);
    for (const auto& [row, column, channel] :
         {std::array{0, 0, 0}, {0, 0, 2}, {0, 1, 0}, {1, 0, 0}, {47, 47, 2}, {13, 29, 1}}) {
      const float found = input->values[static_cast<size_t>(patch) * input->cols + (row * 48 + column) * 3 + channel];
      const uint8_t pixel = image.row(y * 48 + row)[(x * 48 + column) * 3 + channel];
      ASSERT_EQ(found, static_cast<float>(pixel) * 0.003921568859368562698f) << patch;
    }
  }
}

// For a vision tower: patches of 16 pixels, row by row over the whole picture, nine a soft token.
TEST(Patches, OfATowerAreSmallAndStillOfTheWholePicture) {
  const Image image = counting(960, 672);
  const auto input = picture_patches(image, MediaKind::kImage, {.tower_patches = true});
  ASSERT_TRUE(input);
  EXPECT_EQ(input->rows, 20 * 14);
  EXPECT_EQ(input->value_rows, 60 * 42);
  EXPECT_EQ(input->units(), 9 * input->rows);
  EXPECT_EQ(input->cols, 16 * 16 * 3);
  ASSERT_EQ(input->values.size(), static_cast<size_t>(input->units()) * input->cols);
  ASSERT_EQ(input->positions.size(), static_cast<size_t>(input->units()) * 2);
  for (int32_t patch = 0; patch < input->units(); ++patch) {
    const int32_t x = patch % 60, y = patch / 60;
    ASSERT_EQ(input->positions[2 * patch], x);
    ASSERT_EQ(input->positions[2 * patch + 1], y);
    for (const auto& [row, column, channel] :
         {std::array{0, 0, 0}, {0, 0, 2}, {0, 1, 0}, {1, 0, 0}, {15, 15, 2}, {13, 9, 1}}) {
      const float found = input->values[static_cast<size_t>(patch) * input->cols + (row * 16 + column) * 3 + channel];
      const uint8_t pixel = image.row(y * 16 + row)[(x * 16 + column) * 3 + channel];
      ASSERT_EQ(found, static_cast<float>(pixel) * 0.003921568859368562698f) << patch;
    }
  }
  // The same pixels cut for the other variant are another content.
  EXPECT_NE(input->content_hash, picture_patches(image, MediaKind::kImage, {})->content_hash);
}

// Every budget, and sizes whose halves fall on the double's edge: never more soft tokens than asked for, nine patches
// each.
TEST(Patches, OfATowerAtEveryBudget) {
  for (const int32_t budget : kSoftTokenBudgets) {
    for (const auto& [width, height] : {std::array{440, 308}, {3, 900}, {641, 479}, {1, 1}}) {
      const ImageOptions options{.max_soft_tokens = budget, .tower_patches = true};
      const auto size = target_size(width, height, options);
      const auto input = picture_patches(counting(width, height), MediaKind::kVideo, options);
      ASSERT_TRUE(size && input);
      EXPECT_EQ(input->rows, size->width / 48 * (size->height / 48));
      EXPECT_LE(input->rows, budget);
      EXPECT_EQ(input->units(), size->width / 16 * (size->height / 16));
      EXPECT_EQ(input->positions[input->positions.size() - 2] + 1, size->width / 16);
      EXPECT_EQ(input->positions.back() + 1, size->height / 16);
    }
  }
}

TEST(Patches, ClipsAreDividedAndPicturesMultiplied) {
  const Image image = counting(480, 336);
  const auto picture = picture_patches(image, MediaKind::kImage, {16, 3, 70});
  const auto frame = picture_patches(image, MediaKind::kVideo, {16, 3, 70});
  ASSERT_TRUE(picture && frame);
  int unequal = 0;
  for (size_t i = 0; i < frame->values.size(); ++i) {
    const float pixel = std::round(frame->values[i] * 255.0f);
    ASSERT_EQ(frame->values[i], pixel / 255.0f);
    unequal += frame->values[i] != picture->values[i] ? 1 : 0;
  }
  EXPECT_GT(unequal, 0);
  EXPECT_EQ(*std::max_element(frame->values.begin(), frame->values.end()), 1.0f);
}

TEST(Patches, AreCutFromTheResizedPicture) {
  const Image image = counting(50, 40);
  const Image resized = resize_bicubic(image, 432, 336);
  const auto input = picture_patches(image, MediaKind::kVideo, {16, 3, 70});
  ASSERT_TRUE(input);
  ASSERT_EQ(input->rows, 9 * 7);
  EXPECT_EQ(input->source_width, 50);
  EXPECT_EQ(input->values[0], resized.pixels[0] / 255.0f);
  EXPECT_EQ(input->values.back(), resized.pixels.back() / 255.0f);
}

TEST(Patches, EqualContentHasEqualHashes) {
  Image image = counting(50, 40);
  const auto hash = [&](MediaKind kind, const ImageOptions& options) {
    return picture_patches(image, kind, options)->content_hash;
  };
  const uint64_t first = hash(MediaKind::kImage, {});
  EXPECT_EQ(first, hash(MediaKind::kImage, {}));
  EXPECT_NE(first, hash(MediaKind::kVideo, {}));
  EXPECT_NE(first, hash(MediaKind::kImage, {16, 3, 140}));
  image.pixels[1000] ^= 0x40;
  EXPECT_NE(first, hash(MediaKind::kImage, {}));
}

}  // namespace
}  // namespace lapidary
