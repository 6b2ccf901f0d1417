// Picture files: whatever the bytes, an error of one line or a picture whose pixels fit its size.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/limits.h"
#include "media/image_file.h"
#include "media/patches.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto image = decode_image({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  if (!image) {
    CHECK(!image.error().message.empty());
    return 0;
  }
  CHECK(image->width >= 1 && image->height >= 1);
  CHECK(int64_t{image->width} * image->height <= kLimits.image_pixels_max);
  CHECK(image->pixels.size() == static_cast<size_t>(image->width) * image->height * 3);
  // Resizing has no bytes to fear; small pictures keep the fuzzer quick.
  if (image->pixels.size() > 100'000) return 0;
  const auto input = picture_patches(*image, MediaKind::kImage, {16, 3, 70});
  if (input) CHECK(input->rows >= 1 && input->rows <= 70);
  return 0;
}
