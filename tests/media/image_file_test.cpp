#include "media/image_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <chrono>
#include <cstring>
#include <string>

#include "base/limits.h"
#include "media/test_files.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

// NAME.rgb of make_data.py: width, height, pixels.
Image reference_pixels(const std::filesystem::path& picture) {
  const Bytes bytes = read_bytes(picture.string() + ".rgb");
  EXPECT_GE(bytes.size(), 8u);
  uint32_t size[2];
  std::memcpy(size, bytes.data(), sizeof(size));
  Image image;
  image.width = static_cast<int32_t>(size[0]);
  image.height = static_cast<int32_t>(size[1]);
  const auto* first = reinterpret_cast<const uint8_t*>(bytes.data()) + sizeof(size);
  image.pixels.assign(first, first + bytes.size() - sizeof(size));
  return image;
}

TEST(ImageFile, EveryKindOfFileGivesThePixelsOfPil) {
  const auto pictures = files_of(media_data() / "pictures", ".rgb");
  ASSERT_GE(pictures.size(), 75u);
  for (const auto& path : pictures) {
    const auto image = decode_image(read_bytes(path), path.filename().string());
    ASSERT_TRUE(image) << image.error().message;
    const Image expected = reference_pixels(path);
    ASSERT_EQ(image->width, expected.width) << path;
    ASSERT_EQ(image->height, expected.height) << path;
    ASSERT_EQ(image->pixels.size(), static_cast<size_t>(image->width) * image->height * 3) << path;
    EXPECT_TRUE(image->pixels == expected.pixels) << path;
  }
}

TEST(ImageFile, TheFormatIsFoundByContent) {
  const auto format_of = [](const char* name) {
    return *detect_image_format(read_bytes(media_data() / "pictures" / name), name);
  };
  EXPECT_EQ(format_of("420.jpg"), ImageFormat::kJpeg);
  EXPECT_EQ(format_of("rgb.png"), ImageFormat::kPng);
  EXPECT_EQ(format_of("lossy.webp"), ImageFormat::kWebp);
  EXPECT_EQ(format_of("palette8.gif"), ImageFormat::kGif);
  EXPECT_EQ(format_of("rgb.bmp"), ImageFormat::kBmp);
}

TEST(ImageFile, WhatIsNoPictureIsNamed) {
  const auto message = [](std::string_view text) {
    const auto image = decode_image(bytes_of(text), "upload");
    EXPECT_FALSE(image);
    return image ? std::string() : image.error().message;
  };
  EXPECT_THAT(message(""), HasSubstr("upload: expected a JPEG, PNG, WebP, GIF or BMP picture, found an empty file"));
  EXPECT_THAT(message("hello, world"), HasSubstr("found text"));
  EXPECT_THAT(message("%PDF-1.4"), HasSubstr("found a PDF file"));
  EXPECT_THAT(message("<svg/>"), HasSubstr("found an SVG file"));
  EXPECT_THAT(message(std::string_view("\x00\x01\x02", 3)), HasSubstr("3 bytes beginning with 00 01 02"));
  EXPECT_THAT(message("\xff\xd8"), HasSubstr("damaged or truncated JPEG of 2 bytes"));
  EXPECT_THAT(message("\x89PNG\r\n\x1a\n"), HasSubstr("damaged or truncated PNG of 8 bytes"));
  EXPECT_THAT(message("RIFF....WEBP"), HasSubstr("damaged or truncated WebP"));
  EXPECT_THAT(message("GIF89a..."), HasSubstr("damaged or truncated GIF of 9 bytes"));
  EXPECT_THAT(message("BMW and other words of this kind"), HasSubstr("damaged or truncated BMP"));
}

void append_chunk(std::string& png, const std::string& name, const std::string& data) {
  const auto big_endian = [&](uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) png.push_back(static_cast<char>(value >> shift));
  };
  big_endian(static_cast<uint32_t>(data.size()));
  const std::string body = name + data;
  png += body;
  big_endian(
      static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()))));
}

// A file of a hundred bytes that claims a size and holds no pixels.
Bytes png_claiming(uint32_t width, uint32_t height) {
  std::string png = "\x89PNG\r\n\x1a\n", header;
  for (const uint32_t value : {width, height}) {
    for (int shift = 24; shift >= 0; shift -= 8) header.push_back(static_cast<char>(value >> shift));
  }
  header += std::string("\x08\x02\x00\x00\x00", 5);
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", "x");
  append_chunk(png, "IEND", "");
  return bytes_of(png);
}

TEST(ImageFile, GiantsAreRefusedBeforeTheyAreDecoded) {
  for (const auto& [width, height] :
       {std::pair{8001u, 8000u}, {50'000u, 50'000u}, {64'000'001u, 1u}, {0x7fffffffu, 0x7fffffffu}}) {
    const auto image = decode_image(png_claiming(width, height), "bomb.png");
    ASSERT_FALSE(image);
    EXPECT_EQ(image.error().code, ErrorCode::kInvalidArgument) << image.error().message;
    EXPECT_THAT(image.error().message, HasSubstr("at most 64000000 pixels"));
  }
  // The largest one is tried, and fails for its missing pixels.
  const auto largest = decode_image(png_claiming(8000, 8000), "empty.png");
  ASSERT_FALSE(largest);
  EXPECT_EQ(largest.error().code, ErrorCode::kCorruptFile) << largest.error().message;
}

// Number little-endian.
std::string little(uint32_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i, value >>= 8) out += static_cast<char>(value);
  return out;
}

std::string bmp_claiming(uint32_t width, uint32_t height, uint32_t compression, uint16_t bits) {
  return "BM" + little(0, 8) + little(54, 4) + little(40, 4) + little(width, 4) + little(height, 4) + little(1, 2) +
         little(bits, 2) + little(compression, 4) + little(0, 20);
}

TEST(ImageFile, EveryFormatHasItsGiants) {
  const auto refusal = [](const std::string& text) {
    const auto image = decode_image(bytes_of(text), "bomb");
    EXPECT_FALSE(image);
    return image ? Error{} : image.error();
  };
  for (const char* limit : {"at most 64000000 pixels", "sides of at most 16384 pixels"}) {
    const bool side = limit[0] == 's';
    const uint32_t width = side ? 16'385 : 50'000, height = side ? 1 : 50'000;
    const std::string gif = "GIF89a" + little(width, 2) + little(height, 2) + little(0, 3) + "\x2c" + little(0, 4) +
                            little(1, 2) + little(1, 2) + little(0, 1) + "\x02";
    const std::string gif_frame = "GIF89a" + little(1, 2) + little(1, 2) + little(0, 3) + "\x2c" + little(0, 4) +
                                  little(width, 2) + little(height, 2) + little(0, 1) + "\x02";
    const Bytes png = png_claiming(width, height);
    const std::string png_text(reinterpret_cast<const char*>(png.data()), png.size());
    for (const std::string& giant : {gif, gif_frame, png_text, bmp_claiming(width, height, 0, 24),
                                     bmp_claiming(width, height, 1, 8), bmp_claiming(width, 0u - height, 0, 24)}) {
      const Error error = refusal(giant);
      EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << error.message;
      EXPECT_THAT(error.message, HasSubstr(limit));
    }
  }
  EXPECT_EQ(refusal(bmp_claiming(0, 5, 0, 24)).code, ErrorCode::kCorruptFile);
  EXPECT_EQ(refusal(bmp_claiming(5, 0x80000000u, 0, 24)).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(bmp_claiming(8000, 8000, 0, 24)).code, ErrorCode::kCorruptFile);  // no pixels behind the header
  EXPECT_EQ(refusal(bmp_claiming(5, 5, 4, 24)).code, ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(bmp_claiming(5, 5, 0, 7)).code, ErrorCode::kUnsupported);
}

// Ten thousand frames cost what one does: only the first is looked at.
TEST(ImageFile, LaterFramesOfAnAnimationAreNotDecoded) {
  const Bytes one = read_bytes(media_data() / "pictures/animation.gif");
  const auto first = decode_image(one, "one.gif");
  ASSERT_TRUE(first);
  // Everything behind the first frame again and again.
  const auto* text = reinterpret_cast<const char*>(one.data());
  const std::string whole(text, one.size());
  const size_t second = whole.find(std::string_view("\x21\xf9\x04", 3), whole.find(',') + 10);
  ASSERT_NE(second, std::string::npos);
  std::string many = whole.substr(0, whole.size() - 1);
  while (many.size() < 10'000 * (whole.size() - second) / 3) many += whole.substr(second, whole.size() - 1 - second);
  many += ';';
  const auto begin = std::chrono::steady_clock::now();
  const auto image = decode_image(bytes_of(many), "many.gif");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_TRUE(image->pixels == first->pixels);
  EXPECT_LT(seconds, 0.25) << many.size() << " bytes";
}

TEST(ImageFile, AFileCutAnywhereIsAnErrorOrAPicture) {
  for (const auto& path : files_of(media_data() / "pictures", ".rgb")) {
    const Bytes whole = read_bytes(path);
    int errors = 0;
    for (size_t size = 0; size < whole.size(); ++size) {
      // An allocation of its own, so that a sanitizer sees reads beyond the end.
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      const auto image = decode_image(cut, "cut");
      if (!image) {
        ++errors;
        EXPECT_THAT(image.error().message, HasSubstr("cut: "));
        EXPECT_THAT(image.error().message, ::testing::Not(HasSubstr("\n")));
      }
    }
    // Only an end that holds no pixels may be missed.
    EXPECT_GT(errors, static_cast<int>(whole.size()) / 3) << path;
  }
}

TEST(ImageFile, AJpegWithoutItsLastRowsIsTruncated) {
  const Bytes whole = read_bytes(media_data() / "pictures/420.jpg");
  const auto image = decode_image(std::span(whole).first(whole.size() - 40), "half.jpg");
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::kCorruptFile);
  EXPECT_THAT(image.error().message, HasSubstr("half.jpg: damaged or truncated JPEG"));
}

// Rows 0 1 2 / 3 4 5 under each orientation, worked out by hand.
TEST(Oriented, AllEight) {
  const struct {
    int orientation, width;
    std::vector<uint8_t> expected;
  } cases[] = {{1, 3, {0, 1, 2, 3, 4, 5}}, {2, 3, {2, 1, 0, 5, 4, 3}}, {3, 3, {5, 4, 3, 2, 1, 0}},
               {4, 3, {3, 4, 5, 0, 1, 2}}, {5, 2, {0, 3, 1, 4, 2, 5}}, {6, 2, {3, 0, 4, 1, 5, 2}},
               {7, 2, {5, 2, 4, 1, 3, 0}}, {8, 2, {2, 5, 1, 4, 0, 3}}, {0, 3, {0, 1, 2, 3, 4, 5}},
               {9, 3, {0, 1, 2, 3, 4, 5}}};
  for (const auto& c : cases) {
    Image stored{3, 2, {}};
    for (uint8_t i = 0; i < 6; ++i)
      stored.pixels.insert(stored.pixels.end(), {i, static_cast<uint8_t>(i + 10), static_cast<uint8_t>(i + 20)});
    const Image turned = oriented(stored, c.orientation);
    ASSERT_EQ(turned.width, c.width) << c.orientation;
    ASSERT_EQ(turned.height, 6 / c.width);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(turned.pixels[3 * i], c.expected[i]) << c.orientation << " at " << i;
      EXPECT_EQ(turned.pixels[3 * i + 2], c.expected[i] + 20);
    }
  }
}

}  // namespace
}  // namespace lapidary
