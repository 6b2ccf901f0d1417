// Antialiased bicubic resizing in integers, bit for bit what PyTorch does to uint8 pictures on a CPU
// (torchvision.transforms.v2.functional.resize with antialias=True; upsampling kernels of ATen/native/cpu).
#pragma once

#include <cstdint>
#include <vector>

#include "media/image.h"

namespace lapidary {

// The weights of one axis. Output i is the sum over j < counts[i] of weights[i * taps + j] * input[starts[i] + j],
// divided by 2^precision and rounded.
struct ResizeAxis {
  int32_t in = 0, out = 0;
  int32_t taps = 0;  // row length of weights: the largest count, rounded up to a multiple of 8
  int32_t precision = 0;
  std::vector<int32_t> starts, counts;  // [out]
  std::vector<int16_t> weights;         // [out, taps], zero beyond counts
};

// Keys' cubic with a = -1/2, stretched by in / out when that is more than 1; windows are cut at the borders and divided
// by their sum. precision is the largest one (at most 22) at which the largest weight still fits 16 bits.
ResizeAxis resize_axis(int32_t in, int32_t out);

// source is not empty, width and height are at least 1. First along rows, then along columns; the picture in between
// has 8 bits as well. An axis whose size stays is left alone.
Image resize_bicubic(const Image& source, int32_t width, int32_t height);

}  // namespace lapidary
