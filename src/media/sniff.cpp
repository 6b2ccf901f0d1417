#include "media/sniff.h"

#include <algorithm>
#include <span>

#include "base/utf8.h"
#include "media/av_source.h"

namespace lapidary {
namespace {

using namespace std::string_view_literals;

struct Magic {
  SniffedMedia media;
  size_t at;
  std::string_view bytes;
  std::string_view more = {};  // and this at more_at
  size_t more_at = 0;
};

constexpr Magic kMagics[] = {
    {SniffedMedia::kImage, 0, "\xff\xd8\xff"},
    {SniffedMedia::kImage, 0, "\x89PNG\r\n\x1a\n"},
    {SniffedMedia::kImage, 0, "RIFF", "WEBP", 8},
    {SniffedMedia::kImage, 0, "GIF87a"},
    {SniffedMedia::kImage, 0, "GIF89a"},
    {SniffedMedia::kImage, 0, "II*\0"sv},
    {SniffedMedia::kImage, 0, "MM\0*"sv},
    {SniffedMedia::kImage, 4, "ftypavif"},
    {SniffedMedia::kImage, 4, "ftypheic"},
    {SniffedMedia::kImage, 4, "ftypmif1"},
    {SniffedMedia::kAudio, 0, "RIFF", "WAVE", 8},
    {SniffedMedia::kAudio, 0, "RF64", "WAVE", 8},
    {SniffedMedia::kAudio, 0, "riff\x2e\x91\xcf\x11"sv},  // Wave64
    {SniffedMedia::kAudio, 0, "fLaC"},
    {SniffedMedia::kAudio, 0, "ID3"},
    {SniffedMedia::kAudio, 4, "ftypM4A "},
    {SniffedMedia::kAudio, 4, "ftypM4B "},
    {SniffedMedia::kAudio, 0, "FORM", "AIF", 8},
    {SniffedMedia::kAudio, 0, "caff"},
    {SniffedMedia::kAudio, 0, ".snd"},
    {SniffedMedia::kAudio, 0, "#!AMR"},
    {SniffedMedia::kAudio, 0, "wvpk"},
    {SniffedMedia::kAudio, 0, "TTA1"},
    {SniffedMedia::kAudio, 0, "\x0b\x77"},  // AC-3
    {SniffedMedia::kVideo, 4, "ftyp"},
    {SniffedMedia::kVideo, 4, "moov"},
    {SniffedMedia::kVideo, 4, "mdat"},
    {SniffedMedia::kVideo, 4, "wide"},
    {SniffedMedia::kVideo, 0, "\x1a\x45\xdf\xa3"},
    {SniffedMedia::kVideo, 0, "RIFF", "AVI ", 8},
    {SniffedMedia::kVideo, 0, "FLV\x01"},
    {SniffedMedia::kVideo, 0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"},  // ASF
    {SniffedMedia::kVideo, 0, "\0\0\x01\xba"sv},                    // MPEG program stream
    {SniffedMedia::kVideo, 0, "\0\0\x01\xb3"sv},                    // MPEG video
    {SniffedMedia::kVideo, 0, "\0\0\0\x01"sv},                      // H.264 or HEVC without a container
    {SniffedMedia::kVideo, 0, "DKIF"},
    {SniffedMedia::kVideo, 0, "YUV4MPEG2 "},
    {SniffedMedia::kPdf, 0, "%PDF-"},
};

bool stands_at(std::string_view bytes, size_t at, std::string_view magic) {
  return bytes.size() >= at && bytes.substr(at).starts_with(magic);
}

uint8_t byte_at(std::string_view bytes, size_t at) { return at < bytes.size() ? static_cast<uint8_t>(bytes[at]) : 0; }

// "BM" alone would take a text for a picture: the header's length and the reserved zeros have to be there.
bool is_bmp(std::string_view bytes) {
  const uint8_t header_bytes = byte_at(bytes, 14);
  return bytes.starts_with("BM") && stands_at(bytes, 6, "\0\0\0\0"sv) && (header_bytes == 12 || header_bytes >= 40);
}

// The header of a frame of MPEG audio, or of AAC between ADTS headers.
bool is_mpeg_audio(std::string_view bytes) {
  const uint8_t second = byte_at(bytes, 1), third = byte_at(bytes, 2);
  if (byte_at(bytes, 0) != 0xff || (second & 0xe0) != 0xe0) return false;
  const bool adts = (second & 0xf6) == 0xf0;
  const bool reserved =
      (second & 0x18) == 0x08 || (second & 0x06) == 0 || (third & 0xf0) == 0xf0 || (third & 0x0c) == 0x0c;
  return adts || !reserved;
}

bool is_transport_stream(std::string_view bytes) {
  return byte_at(bytes, 0) == 0x47 && byte_at(bytes, 188) == 0x47 && byte_at(bytes, 376) == 0x47;
}

// An Ogg file of moving pictures names Theora in its first page.
SniffedMedia ogg_media(std::string_view bytes) {
  return bytes.substr(0, 256).find("\x80theora") == std::string_view::npos ? SniffedMedia::kAudio
                                                                           : SniffedMedia::kVideo;
}

// UTF-8, or what looks like it as far as one can see, without control characters.
bool is_text(std::string_view bytes) {
  std::string_view head = bytes.substr(0, 4096);
  if (head.size() < bytes.size()) head.remove_suffix(utf8_incomplete_tail(head));
  const auto is_control = [](char c) {
    return (static_cast<uint8_t>(c) < 0x20 && (c < '\t' || c > '\r') && c != '\x1b') || c == '\x7f';
  };
  return !head.empty() && utf8_valid(head) && std::none_of(head.begin(), head.end(), is_control);
}

}  // namespace

SniffedMedia sniff_media(std::string_view bytes) {
  for (const Magic& magic : kMagics) {
    if (stands_at(bytes, magic.at, magic.bytes) && stands_at(bytes, magic.more_at, magic.more)) return magic.media;
  }
  if (bytes.starts_with("OggS")) return ogg_media(bytes);
  if (is_bmp(bytes)) return SniffedMedia::kImage;
  if (is_mpeg_audio(bytes)) return SniffedMedia::kAudio;
  if (is_transport_stream(bytes)) return SniffedMedia::kVideo;
  return is_text(bytes) ? SniffedMedia::kText : SniffedMedia::kUnknown;
}

Result<SniffedMedia> sniff_tracks(std::string_view bytes, std::string_view name, const DecodeWatch& watch) {
  const SniffedMedia media = sniff_media(bytes);
  if (media != SniffedMedia::kVideo) return media;
  ASSIGN_OR_RETURN(AvSource source, AvSource::open(std::as_bytes(std::span(bytes)), name, watch));
  if (source.select_stream(AVMEDIA_TYPE_VIDEO)) return SniffedMedia::kVideo;
  if (source.select_stream(AVMEDIA_TYPE_AUDIO)) return SniffedMedia::kAudio;
  return SniffedMedia::kVideo;
}

}  // namespace lapidary
