#include "media/mel.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "base/check.h"
#include "media/audio_file.h"

namespace lapidary {
namespace {

using Complex = std::complex<double>;

// The discrete Fourier transform of a power of two, in place: bits reversed, then butterflies.
class Transform {
 public:
  explicit Transform(int32_t length) : turns_(length / 2), order_(length) {
    for (size_t i = 0; i < turns_.size(); ++i)
      turns_[i] = std::polar(1.0, -2.0 * std::numbers::pi * static_cast<double>(i) / length);
    for (int32_t i = 1; i < length; ++i) order_[i] = order_[i / 2] / 2 + (i % 2 == 1 ? length / 2 : 0);
  }

  void run(std::vector<Complex>& x) const {
    const size_t length = order_.size();
    for (size_t i = 0; i < length; ++i) {
      if (order_[i] > static_cast<int32_t>(i)) std::swap(x[i], x[order_[i]]);
    }
    for (size_t half = 1; half < length; half *= 2) {
      const size_t step = length / (2 * half);
      for (size_t first = 0; first < length; first += 2 * half) {
        for (size_t i = 0; i < half; ++i) {
          const Complex turn = turns_[i * step], upper = x[first + i], other = x[first + i + half];
          // Written out: operator* of std::complex checks for infinities.
          const Complex lower(other.real() * turn.real() - other.imag() * turn.imag(),
                              other.real() * turn.imag() + other.imag() * turn.real());
          x[first + i] = upper + lower;
          x[first + i + half] = upper - lower;
        }
      }
    }
  }

 private:
  std::vector<Complex> turns_;
  std::vector<int32_t> order_;
};

// A triangle: weights of the bins from first on, all others being zero.
struct MelFilter {
  int32_t first = 0;
  std::vector<double> weights;
};

double hz_to_mel(double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); }
double mel_to_hz(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

std::vector<MelFilter> mel_filters(const MelOptions& options) {
  const int32_t bins = options.fft_length / 2 + 1;
  const double low = hz_to_mel(options.low_hz), high = hz_to_mel(options.high_hz);
  std::vector<double> points(options.bands + 2);
  for (size_t i = 0; i < points.size(); ++i)
    points[i] = mel_to_hz(low + (high - low) * static_cast<double>(i) / (options.bands + 1));
  std::vector<MelFilter> filters(options.bands);
  for (size_t j = 0; j < filters.size(); ++j) {
    for (int32_t b = 0; b < bins; ++b) {
      const double hz = static_cast<double>(kSampleRate) * b / options.fft_length;
      const double rising = (hz - points[j]) / (points[j + 1] - points[j]),
                   falling = (points[j + 2] - hz) / (points[j + 2] - points[j + 1]);
      const double weight = std::min(rising, falling);
      if (weight <= 0) continue;
      if (filters[j].weights.empty()) filters[j].first = b;
      filters[j].weights.push_back(weight);
    }
  }
  return filters;
}

}  // namespace

int32_t mel_rows(int64_t samples, const MelOptions& options) {
  const int64_t needed = options.frame_samples - options.frame_samples / 2 + 1;  // for the first frame
  return samples < needed ? 0 : static_cast<int32_t>((samples - needed) / options.hop_samples + 1);
}

std::vector<float> log_mel(std::span<const float> samples, const MelOptions& options) {
  const int32_t rows = mel_rows(std::ssize(samples), options), frame = options.frame_samples;
  CHECK(frame <= options.fft_length);
  // The reference keeps the window, and a frame under it, in float32.
  std::vector<float> window(frame);
  for (int32_t i = 0; i < frame; ++i)
    window[i] = static_cast<float>(0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * i / frame));
  const std::vector<MelFilter> filters = mel_filters(options);
  const Transform transform(options.fft_length);
  std::vector<Complex> spectrum(options.fft_length);
  std::vector<double> magnitudes(options.fft_length / 2 + 1);
  std::vector<float> out(static_cast<size_t>(rows) * options.bands);
  for (int32_t r = 0; r < rows; ++r) {
    const int64_t start = static_cast<int64_t>(r) * options.hop_samples - frame / 2;
    std::fill(spectrum.begin(), spectrum.end(), Complex());
    for (int32_t i = 0; i < frame; ++i) {
      if (start + i >= 0) spectrum[i] = static_cast<double>(samples[start + i] * window[i]);
    }
    transform.run(spectrum);
    for (size_t b = 0; b < magnitudes.size(); ++b)
      magnitudes[b] = std::sqrt(spectrum[b].real() * spectrum[b].real() + spectrum[b].imag() * spectrum[b].imag());
    for (int32_t j = 0; j < options.bands; ++j) {
      const MelFilter& filter = filters[j];
      double sum = 0;
      for (size_t i = 0; i < filter.weights.size(); ++i) sum += filter.weights[i] * magnitudes[filter.first + i];
      out[static_cast<size_t>(r) * options.bands + j] = static_cast<float>(std::log(sum + options.floor));
    }
  }
  return out;
}

}  // namespace lapidary
