// Sample-rate conversion of one channel, in pieces: a Kaiser-windowed sinc with linear phase and no delay.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lapidary {

// Pass band up to 0.913 of the lower Nyquist frequency, -120 dB from that frequency on (what soxr calls HQ has the same
// bands). Output sample n stands at the time n / out_rate of the input, beyond whose ends there is silence; N input
// samples give ceil(N * out_rate / in_rate). Where the input is exactly zero over the filter's length, so is the
// output. Equal rates pass untouched.
class Resampler {
 public:
  // Rates in Hz, 1 to kRateMax.
  Resampler(int32_t in_rate, int32_t out_rate);
  static constexpr int32_t kRateMax = 768'000;

  // Both append to out.
  void push(std::span<const float> input, std::vector<float>& out);
  void finish(std::vector<float>& out);  // the tail; nothing may be pushed afterwards

 private:
  void build_phases(double cutoff, double half_width);
  void produce(int64_t outputs_end, std::vector<float>& out);
  float at(int64_t n) const;

  int64_t in_step_, out_step_;  // in_rate : out_rate in lowest terms
  int32_t taps_ = 0;
  int32_t phases_ = 0;           // rows of the table are this many steps apart inside one input sample
  bool between_phases_ = false;  // interpolate between two rows: out_step_ has too many phases for a table of all
  std::vector<float> table_;     // [phases_ + 1, taps_]
  std::vector<float> history_;   // input samples from history_start_ on
  int64_t history_start_ = 0;
  int64_t received_ = 0, produced_ = 0;
};

}  // namespace lapidary
