// Video files: whatever the bytes, an error of one line or frames within the budget and in order.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "media/video_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  VideoOptions options;
  options.num_frames = 3;
  const auto clip = decode_video({reinterpret_cast<const std::byte*>(data), size}, "fuzz", options);
  if (!clip) {
    CHECK(!clip.error().message.empty());
    return 0;
  }
  CHECK(!clip->frames.empty() && clip->frames.size() <= 3 && clip->frames.size() == clip->frame_indices.size());
  CHECK(clip->fps > 0);
  int64_t previous = -1;
  for (size_t i = 0; i < clip->frames.size(); ++i) {
    CHECK(clip->frame_indices[i] > previous && clip->frame_indices[i] < clip->source_frames);
    CHECK(clip->frames[i].rows >= 1 && clip->frames[i].rows <= options.max_soft_tokens);
    previous = clip->frame_indices[i];
  }
  return 0;
}
