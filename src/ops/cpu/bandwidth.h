// What the memory of this machine delivers: the limit that decoding is measured against.
#pragma once

namespace lapidary {

// Bytes per second that `threads` threads read together, each its own contiguous part of one buffer much larger than
// the caches; the median of several passes. 0 if there is no memory for the buffer. Takes about a second: measure in
// the same seconds as what is compared with it, because shared machines change their speed.
double measure_read_bandwidth(int threads);

// The same, keeping the buffer between measurements.
class BandwidthProbe {
 public:
  explicit BandwidthProbe(int threads);
  ~BandwidthProbe();
  BandwidthProbe(const BandwidthProbe&) = delete;
  BandwidthProbe& operator=(const BandwidthProbe&) = delete;

  // One pass over the buffer, bytes per second.
  double measure();

 private:
  struct State;
  State* state_;
};

}  // namespace lapidary
