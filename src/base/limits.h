// Every bound of the program in one place. Checked before memory is taken.
#pragma once

#include <cstdint>

namespace lapidary {

struct Limits {
  // Files
  int64_t config_bytes_max = 16 << 20;               // config.json, generation_config.json, processor_config.json
  int64_t tokenizer_bytes_max = 256 << 20;           // tokenizer.json (the released one has 32 MB)
  int64_t safetensors_header_bytes_max = 100 << 20;  // the bound of the format's own reader
  int32_t json_depth_max = 128;
  // Media
  int64_t image_file_bytes_max = 256 << 20;
  int64_t image_pixels_max = 64'000'000;  // before decoding
  int64_t audio_file_bytes_max = 1LL << 30;
  int32_t audio_seconds_max = 3600;          // decoded length of one file
  int32_t audio_clip_samples_max = 480'000;  // 30 s at 16 kHz: what one clip may hold in a prompt
  int32_t audio_clip_tokens_max = 750;       // soft tokens of the longest clip
  int64_t video_file_bytes_max = 4LL << 30;
  int32_t video_frames_max = 512;   // sampled frames of one video
  int32_t media_parts_max = 64;     // of one prompt
  int32_t image_tokens_max = 1120;  // the largest soft-token budget of the family
  // Requests
  int64_t prompt_bytes_max = 64 << 20;
  int32_t logprobs_max = 64;
  int32_t stop_strings_max = 64;
  int32_t draft_tokens_max = 8;          // proposed in one round of speculation
  int32_t reply_call_depth_max = 64;     // nesting of a tool call's arguments
  int64_t verify_bytes_max = 1LL << 30;  // logits kept of an answer for run --verify
};

inline constexpr Limits kLimits{};

}  // namespace lapidary
