// Bytes as a processor_config.json: what is accepted can be worked with.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/json.h"
#include "media/processor_options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!json) return 0;
  const auto options = parse_processor_options(*json, "fuzz");
  if (!options) {
    CHECK(!options.error().message.empty());
    return 0;
  }
  CHECK(options->image.side() > 0 && options->video.frame().side() > 0 && options->video.num_frames > 0);
  CHECK(std::count(kSoftTokenBudgets.begin(), kSoftTokenBudgets.end(), options->image.max_soft_tokens) == 1);
  CHECK(std::count(kSoftTokenBudgets.begin(), kSoftTokenBudgets.end(), options->video.max_soft_tokens) == 1);
  CHECK(options->audio.samples_per_token > 0 && options->audio.clip_samples_max > 0);
  if (const auto& mel = options->audio.mel) {
    CHECK(mel->bands > 0 && mel->hop_samples > 0 && mel->frame_samples > 0 && mel->frame_samples <= mel->fft_length);
  }
  return 0;
}
