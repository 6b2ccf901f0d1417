// What decoding media of strangers may cost: bytes that come out, over all media of one request, and seconds of each.
// The decoders ask between rows, frames and packets; whoever decodes a user's own files gives no bounds.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "base/media_input.h"
#include "base/result.h"

namespace lapidary {

struct DecodeLimits {
  int64_t bytes_max = 512LL << 20;     // pixels, frames as large as a decoder makes them, samples at 16 kHz
  double image_seconds = 10;           // 0: as long as it takes
  double video_seconds = 60;           // of sound, too
  std::function<double()> clock = {};  // in seconds; empty: the machine's
};

// Of one request; on one thread at a time.
class DecodeBudget {
 public:
  explicit DecodeBudget(DecodeLimits limits) : limits_(std::move(limits)), bytes_left_(limits_.bytes_max) {}

  int64_t bytes_left() const { return bytes_left_; }

 private:
  friend class DecodeWatch;

  DecodeLimits limits_;
  int64_t bytes_left_;
};

// Over the decoding of one medium, from its construction on.
class DecodeWatch {
 public:
  DecodeWatch() = default;  // nothing is bounded
  // The budget must outlive this.
  DecodeWatch(DecodeBudget& budget, MediaKind kind);

  // Whether the product of the factors (none negative: items, rows, bytes of each) is left of the request's bytes;
  // what: "a picture of 3x4 pixels". Errors: kExhausted, with the medium's name, what was expected and found.
  Result<void> check(std::string_view name, std::string_view what, std::initializer_list<int64_t> factors) const;
  // The same, and they are taken: to be called before the memory is.
  Result<void> take(std::string_view name, std::string_view what, std::initializer_list<int64_t> factors) const;

  // Time is up; what is being done shall end with late_error().
  bool late() const { return budget_ && seconds_max_ > 0 && seconds() > seconds_max_; }
  // kExhausted.
  Error late_error(std::string_view name) const;

 private:
  double now() const;
  double seconds() const { return now() - begin_; }  // since the beginning

  DecodeBudget* budget_ = nullptr;
  MediaKind kind_ = MediaKind::kImage;
  double begin_ = 0, seconds_max_ = 0;
};

}  // namespace lapidary
