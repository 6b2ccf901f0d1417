#include "media/resize.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <string>

#include "media/test_files.h"

namespace lapidary {
namespace {

struct AxisRow {
  int32_t output, start;
  std::vector<int16_t> weights;
};

void expect_row(const ResizeAxis& axis, const AxisRow& row) {
  ASSERT_LT(row.output, axis.out);
  EXPECT_EQ(axis.starts[row.output], row.start);
  const int16_t* weights = axis.weights.data() + static_cast<size_t>(row.output) * axis.taps;
  const std::vector<int16_t> found(weights, weights + axis.counts[row.output]);
  // The window may begin or end with weights that are rounded to zero.
  std::vector<int16_t> expected = row.weights;
  expected.resize(found.size(), 0);
  EXPECT_EQ(found, expected) << axis.in << " -> " << axis.out << ", output " << row.output;
  for (int32_t j = axis.counts[row.output]; j < axis.taps; ++j) EXPECT_EQ(weights[j], 0);
}

std::vector<uint8_t> resized_row(const std::vector<uint8_t>& input, int32_t out) {
  Image image{static_cast<int32_t>(input.size()), 1, {}};
  for (const uint8_t value : input) image.pixels.insert(image.pixels.end(), 3, value);
  const Image across = resize_bicubic(image, out, 1);
  // The same numbers standing up must give the same.
  std::swap(image.width, image.height);
  EXPECT_EQ(resize_bicubic(image, 1, out).pixels, across.pixels);
  std::vector<uint8_t> channel;
  for (size_t i = 0; i < across.pixels.size(); i += 3) channel.push_back(across.pixels[i]);
  return channel;
}

TEST(ResizeAxis, WholeSmallAxes) {
  const auto check = [](int32_t in, int32_t out, int32_t precision, const std::vector<AxisRow>& rows) {
    const ResizeAxis axis = resize_axis(in, out);
    EXPECT_EQ(axis.precision, precision);
    ASSERT_EQ(std::ssize(rows), out);
    for (const AxisRow& row : rows) expect_row(axis, row);
  };
  check(8, 3, 16,
        {{0, 0, {21219, 26220, 17128, 4081, -1638, -1425, -48}},
         {1, 0, {-1776, 930, 11444, 22169, 22169, 11444, 930, -1776}},
         {2, 1, {-48, -1425, -1638, 4081, 17128, 26220, 21219}}});
  check(5, 4, 15,
        {{0, 0, {26587, 7882, -1702}},
         {1, 0, {-1050, 21141, 14582, -1905}},
         {2, 1, {-1905, 14582, 21141, -1050}},
         {3, 2, {-1702, 7882, 26587}}});
  check(4, 6, 14,
        {{0, 0, {17462, -1078}},
         {1, 0, {8674, 8674, -964}},
         {2, 0, {-948, 15360, 2162, -190}},
         {3, 0, {-190, 2162, 15360, -948}},
         {4, 1, {-964, 8674, 8674}},
         {5, 2, {-1078, 17462}}});
  check(3, 8, 14,
        {{0, 0, {18047, -1663}},
         {1, 0, {15796, 617, -29}},
         {2, 0, {9916, 7293, -825}},
         {3, 0, {2490, 14893, -1000}},
         {4, 0, {-1000, 14893, 2490}},
         {5, 0, {-825, 7293, 9916}},
         {6, 0, {-29, 617, 15796}},
         {7, 1, {-1663, 18047}}});
}

TEST(ResizeAxis, RealSizes) {
  const auto check = [](int32_t in, int32_t out, int32_t precision, const AxisRow& first, const AxisRow& middle) {
    const ResizeAxis axis = resize_axis(in, out);
    EXPECT_EQ(axis.precision, precision) << in << " -> " << out;
    expect_row(axis, first);
    expect_row(axis, middle);
  };
  check(1024, 912, 15, {0, 0, {29713, 3868, -813}}, {456, 510, {-330, 971, 29132, 3792, -797}});
  check(768, 672, 15, {0, 0, {29212, 4546, -990}}, {336, 382, {-412, 1117, 28584, 4449, -969}});
  check(1920, 1056, 15, {0, 0, {17183, 15194, 1752, -1356, -6}},
        {528, 957, {-123, -1337, 3553, 16086, 14224, 1641, -1269, -6}});
  check(1080, 576, 15, {0, 0, {16511, 15249, 2467, -1375, -84}},
        {288, 537, {-202, -1285, 3611, 15441, 14261, 2307, -1286, -79}});
  check(1920, 528, 16, {0, 0, {14498, 19160, 17992, 11974, 4721, -119, -1424, -1051, -216}},
        {264, 955, {-458, -1205, -1116, 1047, 6718, 13395, 17702, 16623, 11063, 4362, -110, -1316, -971, -199}});
  check(224, 768, 14, {0, 0, {18166, -1782}}, {384, 110, {-664, 5920, 12338, -1210}});
}

TEST(Resize, OneChannelByHand) {
  EXPECT_EQ(resized_row({0, 255, 0, 255, 10, 20, 30, 40}, 3), (std::vector<uint8_t>{117, 96, 24}));
  EXPECT_EQ(resized_row({10, 200, 30, 250, 90}, 4), (std::vector<uint8_t>{55, 128, 160, 132}));
  EXPECT_EQ(resized_row({0, 0, 255, 255}, 6), (std::vector<uint8_t>{0, 0, 31, 224, 255, 255}));
  EXPECT_EQ(resized_row({0, 128, 255}, 8), (std::vector<uint8_t>{0, 4, 44, 101, 155, 211, 251, 255}));
}

TEST(Resize, TheSameSizeIsACopy) {
  Image image{2, 2, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  EXPECT_EQ(resize_bicubic(image, 2, 2).pixels, image.pixels);
}

// pattern() of make_data.py.
Image pattern(int32_t width, int32_t height) {
  Image image{width, height, {}};
  for (uint32_t y = 0; y < static_cast<uint32_t>(height); ++y) {
    for (uint32_t x = 0; x < static_cast<uint32_t>(width); ++x) {
      for (uint32_t c = 0; c < 3; ++c) {
        const uint32_t mixed = (x * 73856093u) ^ (y * 19349663u) ^ (c * 83492791u);
        image.pixels.push_back(static_cast<uint8_t>((mixed * 2654435761u) >> 24));
      }
    }
  }
  return image;
}

TEST(Resize, EqualsTheReferenceBitForBit) {
  std::ifstream cases(media_data() / "resize.txt");
  int32_t in_width, in_height, out_width, out_height;
  uint32_t checksum;
  int done = 0;
  for (; cases >> in_width >> in_height >> out_width >> out_height >> checksum; ++done) {
    const Image out = resize_bicubic(pattern(in_width, in_height), out_width, out_height);
    ASSERT_EQ(out.pixels.size(), static_cast<size_t>(out_width) * out_height * 3);
    EXPECT_EQ(crc32(0, out.pixels.data(), static_cast<uInt>(out.pixels.size())), checksum)
        << in_width << "x" << in_height << " -> " << out_width << "x" << out_height;
  }
  EXPECT_EQ(done, 14);
}

// A strip of a million rows of one pixel: the rows between the passes are not all kept.
TEST(Resize, AVeryTallStrip) {
  Image strip{1, 1'000'000, {}};
  strip.pixels.assign(3'000'000, 77);
  const Image out = resize_bicubic(strip, 48, 480);
  EXPECT_TRUE(std::all_of(out.pixels.begin(), out.pixels.end(), [](uint8_t v) { return v == 77; }));
}

}  // namespace
}  // namespace lapidary
