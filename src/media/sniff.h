// What the first bytes say a file is. Names and declared media types are not asked: clients get them wrong.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "media/decode_watch.h"

namespace lapidary {

enum class SniffedMedia : uint8_t { kUnknown, kImage, kAudio, kVideo, kText, kPdf };

// By magic numbers alone. A container that may hold sound or moving pictures (MP4, WebM, Matroska, Ogg of video) counts
// as video, unless its brand says that it is sound; sniff_tracks looks inside. Formats that name other files
// (playlists, SVG) are text.
SniffedMedia sniff_media(std::string_view bytes);

// As sniff_media, but such a container is opened: kVideo when it has moving pictures, kAudio when it has sound only.
// Errors: kUnsupported and kCorruptFile as for decoding, kExhausted when the watch says that time is up.
Result<SniffedMedia> sniff_tracks(std::string_view bytes, std::string_view name, const DecodeWatch& watch = {});

}  // namespace lapidary
