// The one thing a picture's EXIF data is read for: which way up it is.
#pragma once

#include <cstddef>
#include <span>

namespace lapidary {

// tiff: the EXIF block from its byte-order mark on ("II*\0" or "MM\0*"); a leading "Exif\0\0" is skipped. Returns the
// orientation tag (0x0112) of the first directory, 1 when it is missing or the block is damaged: a picture whose EXIF
// data is broken is still a picture.
int exif_orientation(std::span<const std::byte> tiff);

}  // namespace lapidary
