#include "media/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace lapidary {
namespace {

constexpr int32_t kLanes = 8;  // taps are padded to this, so that the inner loops have no remainder
constexpr int kPrecisionMax = 22;
constexpr int kChannels = 3;

double keys_cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

int precision_of(double weight_max) {
  int precision = 0;
  while (precision < kPrecisionMax) {
    const int next = static_cast<int>(0.5 + weight_max * static_cast<double>(1 << (precision + 1)));
    if (next >= 1 << 15) break;
    ++precision;
  }
  return precision;
}

int16_t quantised(double weight, int precision) {
  const double scaled = weight * static_cast<double>(1 << precision);
  return static_cast<int16_t>(scaled + (weight < 0 ? -0.5 : 0.5));
}

uint8_t rounded(int32_t sum, int precision) { return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255)); }

// taps is a multiple of kLanes.
int32_t dot(const int16_t* weights, const int16_t* values, int32_t taps) {
  int32_t lanes[kLanes] = {};
  for (int32_t j = 0; j < taps; j += kLanes) {
    for (int32_t k = 0; k < kLanes; ++k) lanes[k] += static_cast<int32_t>(weights[j + k]) * values[j + k];
  }
  int32_t sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

// Resizes single rows; the row is split into one plane of 16-bit values per channel first.
class RowResizer {
 public:
  explicit RowResizer(const ResizeAxis& axis) : axis_(axis), plane_(static_cast<size_t>(axis.in) + axis.taps) {
    planes_.resize(plane_ * kChannels);  // the zeros behind each plane are read with weights of zero
  }

  // in: [axis.in, 3]; out: [axis.out, 3]
  void run(const uint8_t* in, uint8_t* out) {
    if (axis_.in == axis_.out) {
      std::memcpy(out, in, static_cast<size_t>(axis_.in) * kChannels);
      return;
    }
    for (int32_t x = 0; x < axis_.in; ++x, in += kChannels) {
      for (int c = 0; c < kChannels; ++c) planes_[static_cast<size_t>(c) * plane_ + x] = in[c];
    }
    const int32_t half = 1 << (axis_.precision - 1);
    const int16_t* weights = axis_.weights.data();
    for (int32_t i = 0; i < axis_.out; ++i, weights += axis_.taps) {
      const int16_t* first = planes_.data() + axis_.starts[i];
      for (int c = 0; c < kChannels; ++c) {
        *out++ = rounded(half + dot(weights, first + static_cast<size_t>(c) * plane_, axis_.taps), axis_.precision);
      }
    }
  }

 private:
  const ResizeAxis& axis_;
  size_t plane_;
  std::vector<int16_t> planes_;  // [3, plane_]
};

// The rows between the two passes: a ring of as many as one output row can need, so that a picture of any height
// costs little memory.
class RowWindow {
 public:
  RowWindow(const Image& source, RowResizer& resizer, int32_t rows, size_t row_bytes)
      : source_(source), resizer_(resizer), rows_(rows), row_bytes_(row_bytes), ring_(rows * row_bytes) {}

  void fill_until(int32_t end) {
    for (; end_ < end; ++end_) resizer_.run(source_.row(end_), slot(end_));
  }
  const uint8_t* row(int32_t y) const { return ring_.data() + static_cast<size_t>(y % rows_) * row_bytes_; }

 private:
  uint8_t* slot(int32_t y) { return ring_.data() + static_cast<size_t>(y % rows_) * row_bytes_; }

  const Image& source_;
  RowResizer& resizer_;
  int32_t rows_, end_ = 0;
  size_t row_bytes_;
  std::vector<uint8_t> ring_;
};

void add_weighted(int32_t weight, const uint8_t* row, size_t count, int32_t* sums) {
  for (size_t i = 0; i < count; ++i) sums[i] += weight * row[i];
}

void round_row(const int32_t* sums, size_t count, int precision, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) out[i] = rounded(sums[i], precision);
}

}  // namespace

ResizeAxis resize_axis(int32_t in, int32_t out) {
  CHECK(in >= 1 && out >= 1);
  const double scale = static_cast<double>(in) / out;
  const double support = scale >= 1.0 ? 2.0 * scale : 2.0;
  const double inverse = scale >= 1.0 ? 1.0 / scale : 1.0;
  const int64_t taps_max = static_cast<int64_t>(std::ceil(support)) * 2 + 1;

  ResizeAxis axis;
  axis.in = in;
  axis.out = out;
  axis.starts.resize(out);
  axis.counts.resize(out);
  int32_t count_max = 0;
  for (int32_t i = 0; i < out; ++i) {
    const double centre = scale * (i + 0.5);
    const int64_t start = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), in);
    axis.starts[i] = static_cast<int32_t>(start);
    axis.counts[i] = static_cast<int32_t>(std::clamp<int64_t>(end - start, 0, taps_max));
    count_max = std::max(count_max, axis.counts[i]);
  }
  axis.taps = (count_max + kLanes - 1) / kLanes * kLanes;

  // In double first: the precision depends on the largest weight of all.
  std::vector<double> weights(static_cast<size_t>(out) * axis.taps);
  double weight_max = 0;
  for (int32_t i = 0; i < out; ++i) {
    double* row = weights.data() + static_cast<size_t>(i) * axis.taps;
    const double centre = scale * (i + 0.5);
    double sum = 0;
    for (int32_t j = 0; j < axis.counts[i]; ++j) {
      row[j] = keys_cubic((j + axis.starts[i] - centre + 0.5) * inverse);
      sum += row[j];
    }
    for (int32_t j = 0; j < axis.counts[i]; ++j) {
      if (sum != 0) row[j] /= sum;
      weight_max = std::max(weight_max, row[j]);
    }
  }
  axis.precision = precision_of(weight_max);
  axis.weights.resize(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) axis.weights[i] = quantised(weights[i], axis.precision);
  return axis;
}

Image resize_bicubic(const Image& source, int32_t width, int32_t height) {
  CHECK(source.width >= 1 && source.height >= 1 && width >= 1 && height >= 1);
  const ResizeAxis across = resize_axis(source.width, width);
  const ResizeAxis down = resize_axis(source.height, height);
  Image target;
  target.width = width;
  target.height = height;
  target.pixels.resize(static_cast<size_t>(width) * height * kChannels);

  RowResizer resizer(across);
  if (source.height == height) {
    for (int32_t y = 0; y < height; ++y) resizer.run(source.row(y), target.row(y));
    return target;
  }
  const size_t row_bytes = target.row_bytes();
  RowWindow window(source, resizer, *std::max_element(down.counts.begin(), down.counts.end()), row_bytes);
  std::vector<int32_t> sums(row_bytes);
  for (int32_t y = 0; y < height; ++y) {
    const int16_t* weights = down.weights.data() + static_cast<size_t>(y) * down.taps;
    window.fill_until(down.starts[y] + down.counts[y]);
    std::fill(sums.begin(), sums.end(), 1 << (down.precision - 1));
    for (int32_t j = 0; j < down.counts[y]; ++j) {
      add_weighted(weights[j], window.row(down.starts[y] + j), row_bytes, sums.data());
    }
    round_row(sums.data(), row_bytes, down.precision, target.row(y));
  }
  return target;
}

}  // namespace lapidary
