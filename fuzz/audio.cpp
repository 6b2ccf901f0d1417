// Sound files: whatever the bytes, an error of one line or finite samples, no more than were asked for.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "media/audio_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  constexpr int64_t kSamplesMax = 32'000;
  const auto wave = decode_audio({reinterpret_cast<const std::byte*>(data), size}, "fuzz", kSamplesMax);
  if (!wave) {
    CHECK(!wave.error().message.empty());
    return 0;
  }
  CHECK(!wave->samples.empty() && std::ssize(wave->samples) <= kSamplesMax);
  for (const float sample : wave->samples) CHECK(std::isfinite(sample));
  const MediaInput input = audio_frames(wave->samples, {});
  CHECK(input.values.size() == static_cast<size_t>(input.rows) * input.cols);
  return 0;
}
