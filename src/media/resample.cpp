#include "media/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/check.h"

namespace lapidary {
namespace {

constexpr double kPassBand = 0.913, kStopBand = 1.0;  // fractions of the lower Nyquist frequency
constexpr double kAttenuation = 120.0;                // dB
constexpr int32_t kPhasesMax = 1024;                  // linear interpolation between so many errs by less than -115 dB
constexpr int32_t kLanes = 8;

// Modified Bessel function of the first kind, order 0, by its power series.
double bessel_i0(double x) {
  double sum = 1.0, term = 1.0;
  for (int k = 1; term > sum * 1e-17; ++k) {
    term *= (x / (2.0 * k)) * (x / (2.0 * k));
    sum += term;
  }
  return sum;
}

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x); }

// Separate lanes, so that the sum may be vectorised without changing its order from build to build.
float dot(const float* weights, const float* values, int32_t taps) {
  float lanes[kLanes] = {};
  for (int32_t j = 0; j < taps; j += kLanes) {
    for (int32_t k = 0; k < kLanes; ++k) lanes[k] += weights[j + k] * values[j + k];
  }
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

}  // namespace

Resampler::Resampler(int32_t in_rate, int32_t out_rate) {
  CHECK(in_rate >= 1 && in_rate <= kRateMax && out_rate >= 1 && out_rate <= kRateMax);
  const int32_t common = std::gcd(in_rate, out_rate);
  in_step_ = in_rate / common;
  out_step_ = out_rate / common;
  if (in_step_ == out_step_) return;
  // Kaiser's formulas: length from attenuation and width of the transition. Frequencies in cycles per input sample.
  const double nyquist = 0.5 * std::min(1.0, static_cast<double>(out_rate) / in_rate);
  const double transition = (kStopBand - kPassBand) * nyquist;
  const double half_width = (kAttenuation - 7.95) / (2.285 * 2.0 * std::numbers::pi * transition) / 2.0;
  build_phases((kPassBand + kStopBand) / 2.0 * nyquist, half_width);
  history_.assign(static_cast<size_t>(taps_) / 2 - 1, 0.0f);
  history_start_ = -std::ssize(history_);
}

// Row r weighs the inputs around a point r / phases_ after input q: tap k belongs to input q - taps / 2 + 1 + k.
void Resampler::build_phases(double cutoff, double half_width) {
  taps_ = static_cast<int32_t>(std::ceil(half_width)) * 2;
  taps_ = (taps_ + kLanes - 1) / kLanes * kLanes;
  between_phases_ = out_step_ > kPhasesMax;
  phases_ = between_phases_ ? kPhasesMax : static_cast<int32_t>(out_step_);
  table_.resize(static_cast<size_t>(phases_ + 1) * taps_);
  const double beta = 0.1102 * (kAttenuation - 8.7);
  const int32_t taps_before = taps_ / 2 - 1;
  std::vector<double> row(taps_);
  for (int32_t r = 0; r <= phases_; ++r) {
    double sum = 0;
    for (int32_t k = 0; k < taps_; ++k) {
      const double distance = k - taps_before - static_cast<double>(r) / phases_;
      const double place = distance / half_width;
      row[k] = std::abs(place) >= 1.0
                   ? 0.0
                   : sinc(2.0 * cutoff * distance) * bessel_i0(beta * std::sqrt(1.0 - place * place));
      sum += row[k];
    }
    // A constant stays that constant.
    for (int32_t k = 0; k < taps_; ++k) table_[static_cast<size_t>(r) * taps_ + k] = static_cast<float>(row[k] / sum);
  }
}

float Resampler::at(int64_t n) const {
  const int64_t whole = n * in_step_ / out_step_, rest = n * in_step_ % out_step_;
  const float* values = history_.data() + (whole - taps_ / 2 + 1 - history_start_);
  if (!between_phases_) return dot(table_.data() + rest * taps_, values, taps_);
  const double phase = static_cast<double>(rest) * phases_ / static_cast<double>(out_step_);
  const auto row = static_cast<int64_t>(phase);
  const float share = static_cast<float>(phase - static_cast<double>(row));
  const float* weights = table_.data() + row * taps_;
  return (1.0f - share) * dot(weights, values, taps_) + share * dot(weights + taps_, values, taps_);
}

void Resampler::produce(int64_t outputs_end, std::vector<float>& out) {
  for (; produced_ < outputs_end; ++produced_) out.push_back(at(produced_));
  // Forget what no later output reads.
  const int64_t first_needed = produced_ * in_step_ / out_step_ - taps_ / 2 + 1;
  const int64_t unused = std::min<int64_t>(first_needed - history_start_, std::ssize(history_));
  if (unused > std::ssize(history_) / 2) {
    history_.erase(history_.begin(), history_.begin() + unused);
    history_start_ += unused;
  }
}

void Resampler::push(std::span<const float> input, std::vector<float>& out) {
  received_ += std::ssize(input);
  if (in_step_ == out_step_) {
    out.insert(out.end(), input.begin(), input.end());
    return;
  }
  history_.insert(history_.end(), input.begin(), input.end());
  // Output n reads inputs up to floor(n * in / out) + taps / 2.
  const int64_t readable = received_ - taps_ / 2;
  if (readable > 0) produce((readable * out_step_ + in_step_ - 1) / in_step_, out);
}

void Resampler::finish(std::vector<float>& out) {
  if (in_step_ == out_step_) return;
  history_.insert(history_.end(), static_cast<size_t>(taps_), 0.0f);
  produce((received_ * out_step_ + in_step_ - 1) / in_step_, out);
}

}  // namespace lapidary
