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
  int32_t image_side_max = 16'384;
  int64_t audio_file_bytes_max = 1LL << 30;
  int32_t audio_seconds_max = 3600;          // decoded length of one file
  int32_t audio_clip_samples_max = 480'000;  // 30 s at 16 kHz: what one clip may hold in a prompt
  int32_t audio_clip_tokens_max = 750;       // soft tokens of the longest clip
  int64_t video_file_bytes_max = 4LL << 30;
  int32_t video_frames_max = 512;              // sampled frames of one video
  int32_t media_parts_max = 64;                // of one prompt
  int32_t image_tokens_max = 1120;             // the largest soft-token budget of the family
  int64_t soft_token_cache_bytes = 256 << 20;  // encoded pictures and sound that may come again
  // Requests
  int64_t prompt_bytes_max = 64 << 20;
  int32_t logprobs_max = 64;
  int32_t stop_strings_max = 64;
  int32_t logit_biases_max = 1024;
  int32_t stop_tokens_max = 64;
  int32_t choices_max = 128;             // answers to one prompt
  int32_t sequences_max = 1024;          // that run at a time
  int32_t draft_tokens_max = 8;          // proposed by a drafter in one round of speculation
  int32_t forced_drafts_max = 16;        // proposed by a grammar
  int32_t reply_call_depth_max = 64;     // nesting of a tool call's arguments
  int64_t verify_bytes_max = 1LL << 30;  // logits kept of an answer for run --verify
  // Grammars: what compiling one schema, pattern or set of tools may cost (all of them are bounds on hostile input)
  int32_t schema_nodes_max = 20'000;          // sub-schemas looked at, merged ones included
  int32_t schema_alternatives_max = 4'096;    // of one place, after anyOf, oneOf, allOf and $ref
  int32_t grammar_rules_max = 50'000;         // containers and kinds of leaves
  int32_t grammar_states_max = 400'000;       // of all rules together
  int64_t grammar_work_max = 60'000'000;      // elementary steps of compiling: well under two seconds
  int32_t grammar_depth_max = 64;             // nesting of objects and arrays in an answer
  int32_t regex_bytes_max = 4'096;            // text of one pattern
  int32_t regex_repeat_max = 1'000;           // of {m,n} inside a pattern
  int32_t grammar_rollback_tokens_max = 64;   // that a matcher can take back
  int64_t grammar_mask_bytes_max = 64 << 20;  // remembered masks of leaves, for one vocabulary
};

inline constexpr Limits kLimits{};

}  // namespace lapidary
