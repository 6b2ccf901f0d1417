// RGB pixels -> the rows of patches that the model reads.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/media_input.h"
#include "base/result.h"
#include "media/image.h"
#include "media/options.h"

namespace lapidary {

struct TargetSize {
  int32_t width = 0, height = 0;  // multiples of ImageOptions::side()
};

// The largest size, in whole soft tokens, that keeps the shape and fits the budget; small pictures grow. Equal to
// get_aspect_ratio_preserving_size of the reference preprocessing, floating-point rounding included.
// Errors: kInvalidArgument for a budget outside kSoftTokenBudgets, or a picture that would have no token.
Result<TargetSize> target_size(int32_t width, int32_t height, const ImageOptions& options);

// Resizes to target_size and cuts into patches, row by row: of side x side pixels, one a soft token, or with
// tower_patches of patch_size x patch_size, pooling_kernel_size^2 a soft token. kind is kImage or kVideo: a frame of a
// clip is divided by 255 where a picture is multiplied with 1/255, as in the reference. Features are in the order (row,
// column, channel). Errors as target_size.
Result<MediaInput> picture_patches(const Image& image, MediaKind kind, const ImageOptions& options);

}  // namespace lapidary
