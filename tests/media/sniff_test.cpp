#include "media/sniff.h"

#include <gtest/gtest.h>

#include "media/test_files.h"

namespace lapidary {
namespace {

using namespace std::string_view_literals;

std::string text_of(const std::filesystem::path& path) {
  const Bytes bytes = read_bytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

SniffedMedia sniffed(const std::filesystem::path& path) { return sniff_media(text_of(path)); }

TEST(Sniff, FilesOfEveryKind) {
  for (const auto& path : files_of(media_data() / "pictures", ".rgb"))
    EXPECT_EQ(sniffed(path), SniffedMedia::kImage) << path;
  for (const auto& path : files_of(media_data() / "sounds")) EXPECT_EQ(sniffed(path), SniffedMedia::kAudio) << path;
  for (const auto& path : files_of(media_data() / "clips")) EXPECT_EQ(sniffed(path), SniffedMedia::kVideo) << path;
}

TEST(Sniff, Heads) {
  EXPECT_EQ(sniff_media(""), SniffedMedia::kUnknown);
  EXPECT_EQ(sniff_media("BMdy\1"), SniffedMedia::kUnknown);  // ends before what a BMP has at its sixth byte
  EXPECT_EQ(sniff_media("%PDF-1.7\n"), SniffedMedia::kPdf);
  EXPECT_EQ(sniff_media("hello, world\n"), SniffedMedia::kText);
  EXPECT_EQ(sniff_media("gr\xc3\xbc\xc3\x9f"), SniffedMedia::kText);
  EXPECT_EQ(sniff_media("BM is how this text begins, and it goes on"), SniffedMedia::kText);
  EXPECT_EQ(sniff_media("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), SniffedMedia::kText);
  EXPECT_EQ(sniff_media("{\"a\": 1}"), SniffedMedia::kText);
  EXPECT_EQ(sniff_media("a\0b"sv), SniffedMedia::kUnknown);
  EXPECT_EQ(sniff_media("\xfe\xfe\xfe"), SniffedMedia::kUnknown);
  EXPECT_EQ(sniff_media("\xff\xfb\x90\x44"), SniffedMedia::kAudio);
  EXPECT_EQ(sniff_media("\xff\xf1\x50\x80"), SniffedMedia::kAudio);
  EXPECT_EQ(sniff_media("\xff\xff\xff\xff"), SniffedMedia::kUnknown);
  EXPECT_EQ(sniff_media("\0\0\0\x20"
                        "ftypM4A \0\0\0\0"sv),
            SniffedMedia::kAudio);
  EXPECT_EQ(sniff_media("\0\0\0\x20"
                        "ftypisom\0\0\0\0"sv),
            SniffedMedia::kVideo);
  // Text longer than what is looked at, cut inside a character.
  EXPECT_EQ(sniff_media(std::string(4095, 'x') + "\xc3\xa9" + std::string(10, 'y')), SniffedMedia::kText);
}

TEST(Sniff, TracksDecideWhenAsked) {
  const auto tracks = [](const std::filesystem::path& path) { return sniff_tracks(text_of(path), "upload"); };
  EXPECT_EQ(tracks(media_data() / "clips/with_sound.mp4").value(), SniffedMedia::kVideo);
  EXPECT_EQ(tracks(media_data() / "sounds/stereo.m4a").value(), SniffedMedia::kAudio);
  EXPECT_EQ(tracks(media_data() / "sounds/stereo.mp3").value(), SniffedMedia::kAudio);
  EXPECT_EQ(tracks(media_data() / "clips/vp8.webm").value(), SniffedMedia::kVideo);
  // The same sound under a brand that says nothing.
  std::string renamed = text_of(media_data() / "sounds/stereo.m4a");
  renamed.replace(renamed.find("M4A "), 4, "isom");
  EXPECT_EQ(sniff_media(renamed), SniffedMedia::kVideo);
  EXPECT_EQ(sniff_tracks(renamed, "upload").value(), SniffedMedia::kAudio);
  const auto broken = sniff_tracks(renamed.substr(0, 40), "upload");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().message.rfind("upload: ", 0), 0u) << broken.error().message;
}

}  // namespace
}  // namespace lapidary
