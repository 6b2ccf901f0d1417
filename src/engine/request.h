// What goes into the engine and what comes out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/media_input.h"
#include "base/result.h"

namespace lapidary {

// Positions [begin, end) of the prompt hold placeholders of one picture, frame or clip.
struct MediaSpan {
  int32_t begin = 0, end = 0;
  std::shared_ptr<const MediaInput> input;
};

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  float top_p = 0.95f;       // 1: off
  float min_p = 0.0f;        // 0: off
  int32_t top_k = 64;        // 0: off
  uint64_t seed = 0;
};

struct GenerationRequest {
  std::vector<int32_t> prompt;
  std::vector<MediaSpan> media;  // in prompt order
  SamplingParams sampling;
  int32_t tokens_max = 0;         // 0: nothing is generated (for scoring)
  std::vector<std::string> stop;  // text that ends the answer; not part of it
  bool ignore_eos = false;
  std::optional<int32_t> logprobs;  // with each generated token, the K best
  bool prompt_logprobs = false;     // also what the model gave each prompt token after those before it, with the K best
  // Called on the engine's thread for each generated token, before its event: the row of logits [vocab] (soft-capped,
  // nothing suppressed) that it was drawn from, valid during the call.
  std::function<void(int32_t token, std::span<const float> logits)> on_logits;
};

struct TokenLogprob {
  int32_t token = 0;
  double logprob = 0;                           // natural logarithm, over the whole vocabulary, before any filter
  std::vector<std::pair<int32_t, double>> top;  // best first, lowest id among equals
};

enum class FinishReason : uint8_t { kNone, kStop, kLength, kCancelled };
const char* finish_reason_name(FinishReason reason);  // "stop", "length", "cancelled"

struct Usage {
  int32_t prompt_tokens = 0, completion_tokens = 0;
  int32_t image_tokens = 0, audio_tokens = 0, video_tokens = 0, cached_tokens = 0;
};

struct Timing {
  double media_ms = 0, prefill_ms = 0, decode_ms = 0;
  double draft_ms = 0;  // of decode_ms, making drafts
};

// What drafts did for one answer.
struct SpeculationReport {
  int64_t rounds = 0;                        // steps of the model after the prompt
  int64_t proposed = 0, accepted = 0;        // drafted tokens; those that became part of the answer
  std::vector<std::vector<int32_t>> drafts;  // of each round; empty where no second token could follow
};

struct Event {
  uint64_t request = 0;
  std::string text;                    // whole characters, control tokens left out, nothing from a stop string on
  std::vector<int32_t> tokens;         // new since the last event; a stop token is reported, too
  std::vector<TokenLogprob> logprobs;  // one for each of tokens, when asked for
  std::vector<TokenLogprob> prompt_logprobs;  // for prompt tokens 1, 2, ..., as they become known
  int32_t prompt_done = 0;  // set when a piece of the prompt is computed and more are to come: positions so far
  // Set in the last event of a request.
  FinishReason finish = FinishReason::kNone;
  Usage usage;
  Timing timing;
  std::optional<SpeculationReport> speculation;  // when a drafter is in use
};

}  // namespace lapidary
