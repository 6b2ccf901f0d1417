// Files that name other files: playlists, session descriptions, containers whose samples lie elsewhere. Each names a
// clip that is really there, and nothing of it may be read. Run under `strace -f -e trace=network,openat,open` the test
// opens no file but its data and no socket.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "media/audio_file.h"
#include "media/image_file.h"
#include "media/sniff.h"
#include "media/test_files.h"
#include "media/video_file.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string elsewhere() { return (media_data() / "clips/h264.mp4").string(); }

struct Reference {
  const char* name;
  std::string text;
};

std::vector<Reference> references() {
  const std::string clip = elsewhere();
  std::vector<Reference> all = {
      {"hls", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n" + clip + "\n#EXT-X-ENDLIST\n"},
      {"hls of hls", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nhttp://127.0.0.1:9/x.m3u8\n"},
      {"hls with a key",
       "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI=\"file:///etc/passwd\"\n#EXTINF:4,\n" + clip +
           "\n#EXT-X-ENDLIST\n"},
      {"concat", "ffconcat version 1.0\nfile '" + clip + "'\n"},
      {"dash",
       "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" "
       "profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><Period><AdaptationSet mimeType=\"video/mp4\">"
       "<Representation id=\"1\" bandwidth=\"1000\"><BaseURL>" +
           clip + "</BaseURL></Representation></AdaptationSet></Period></MPD>\n"},
      {"sdp",
       "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 "
       "H264/90000\n"},
      {"rtsp", "RTSPtext\nrtsp://127.0.0.1:9/x\n"},
      {"svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><image href=\"file://" + clip + "\"/></svg>"},
      {"pdf", "%PDF-1.4\n1 0 obj\n<< /F (" + clip + ") >>\nendobj\n"},
      {"imf",
       "<?xml version=\"1.0\"?>\n<CompositionPlaylist xmlns=\"http://www.smpte-ra.org/schemas/2067-3/2016\"/>\n"},
      {"vapoursynth", "import vapoursynth as vs\ncore = vs.core\nclip = core.lsmas.LWLibavSource('" + clip + "')\n"},
  };
  return all;
}

TEST(OutsideFiles, PlaylistsAndDocumentsAreRefused) {
  ASSERT_TRUE(std::filesystem::exists(elsewhere()));
  for (const Reference& reference : references()) {
    const Bytes bytes = bytes_of(reference.text);
    const auto clip = decode_video(bytes, "upload", {});
    ASSERT_FALSE(clip) << reference.name;
    EXPECT_EQ(clip.error().code, ErrorCode::kUnsupported) << reference.name << ": " << clip.error().message;
    EXPECT_THAT(clip.error().message, Not(HasSubstr("/"))) << reference.name;
    const auto sound = decode_audio(bytes, "upload");
    ASSERT_FALSE(sound) << reference.name;
    EXPECT_EQ(sound.error().code, ErrorCode::kUnsupported) << reference.name << ": " << sound.error().message;
    const auto picture = decode_image(bytes, "upload");
    ASSERT_FALSE(picture) << reference.name;
    EXPECT_EQ(picture.error().code, ErrorCode::kUnsupported) << reference.name << ": " << picture.error().message;
    const SniffedMedia media = sniff_media(reference.text);
    EXPECT_TRUE(media == SniffedMedia::kText || media == SniffedMedia::kPdf) << reference.name;
  }
}

void put_number(Bytes& bytes, size_t at, uint64_t value, size_t count) {
  for (size_t i = 0; i < count; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * (count - 1 - i)));
}

size_t find_text(const Bytes& bytes, std::string_view text) {
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()).find(text);
}

// The clip with an Apple alias to another file as the home of its samples.
Bytes mov_with_samples_elsewhere() {
  Bytes bytes = read_bytes(elsewhere());
  const std::string path = elsewhere();
  std::string alias(10, '\0');
  alias += std::string(1, '\4') + "disk" + std::string(23, '\0') + std::string(12, '\0');
  alias += std::string(1, '\x08') + "h264.mp4" + std::string(55, '\0') + std::string(16, '\0');
  alias += std::string("\0\1\0\1", 4) + std::string(16, '\0');
  alias += std::string("\0\2\0", 3) + static_cast<char>(path.size()) + path +
           (path.size() % 2 != 0 ? std::string(1, '\0') : "");
  alias += std::string("\xff\xff\0\0", 4);
  const size_t dref = find_text(bytes, "dref");
  EXPECT_NE(dref, std::string::npos);
  const size_t entry = dref + 12;  // behind the kind, the version and the count
  Bytes made(12);
  put_number(made, 0, 12 + alias.size(), 4);
  for (size_t i = 0; i < 4; ++i) made[4 + i] = static_cast<std::byte>("alis"[i]);
  const Bytes text = bytes_of(alias);
  made.insert(made.end(), text.begin(), text.end());
  constexpr size_t kUrlEntryBytes = 12;
  bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(entry),
              bytes.begin() + static_cast<std::ptrdiff_t>(entry + kUrlEntryBytes));
  bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(entry), made.begin(), made.end());
  for (const char* box : {"moov", "trak", "mdia", "minf", "dinf", "dref"}) {
    const size_t at = find_text(bytes, box) - 4;
    uint64_t size = 0;
    for (size_t i = 0; i < 4; ++i) size = size << 8 | std::to_integer<uint64_t>(bytes[at + i]);
    put_number(bytes, at, size + alias.size(), 4);
  }
  return bytes;
}

TEST(OutsideFiles, SamplesOfAMovieAreNotFetchedFromAnotherFile) {
  const auto clip = decode_video(mov_with_samples_elsewhere(), "upload", {});
  EXPECT_FALSE(clip);
  if (!clip) {
    EXPECT_THAT(clip.error().message, HasSubstr("upload: "));
    EXPECT_NE(clip.error().code, ErrorCode::kExhausted);
  }
}

}  // namespace
}  // namespace lapidary
