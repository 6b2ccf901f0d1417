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

// In the order they act; see LogitRules and Sampler for the formulas.
struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  float top_p = 0.95f;       // 1: off
  float min_p = 0.0f;        // 0: off
  int32_t top_k = 64;        // 0: off
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;  // (token, what is added); -100 or less: never chosen
  float repetition_penalty = 1.0f;                    // of tokens of the prompt and the answer; 1: off
  int32_t repetition_window = -1;                     // only those among so many last tokens; -1: all
  float frequency_penalty = 0.0f;                     // times how often the answer has the token
  float presence_penalty = 0.0f;                      // if the answer has the token
};

// Which tokens may come next, beyond what was asked for otherwise: a grammar. Called on the engine's thread, for one
// answer; tokens are told once they are certain, so nothing is ever taken back.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Sets bit id % 64 of allowed[id / 64] for each token that may come next, all other bits being zero when it is
  // called; at least one. false: any token may come, whatever the bits.
  virtual bool allowed_next(std::span<uint64_t> allowed) = 0;
  virtual void accept(int32_t token) = 0;
  // Nothing may follow what was accepted: the answer ends here.
  virtual bool ended() const { return false; }
  // At most `most` tokens of text that must come next, if there is any: the model may cut the text into others.
  virtual std::vector<int32_t> forced_next(int32_t) { return {}; }
  // A copy that may be led astray, to see what could follow drafts. nullptr: there is none.
  virtual std::unique_ptr<TokenConstraint> fork() { return nullptr; }
};

struct GenerationRequest {
  std::vector<int32_t> prompt;
  std::vector<MediaSpan> media;  // in prompt order
  SamplingParams sampling;
  int32_t tokens_max = 0;            // 0: nothing is generated (for scoring)
  int32_t tokens_min = 0;            // before that many, nothing ends the answer but the end of a constraint
  std::vector<std::string> stop;     // text that ends the answer; not part of it
  std::vector<int32_t> stop_tokens;  // tokens that end it, beside the model's own; reported like those
  bool ignore_eos = false;  // of the model's own; with a constraint they are drawn only where nothing else may come
  std::optional<int32_t> logprobs;  // with each generated token, the K best
  bool prompt_logprobs = false;     // also what the model gave each prompt token after those before it, with the K best
  // Called on the engine's thread for each generated token, before its event: the row of logits [vocab] (soft-capped,
  // nothing suppressed) that it was drawn from, valid during the call.
  std::function<void(int32_t token, std::span<const float> logits)> on_logits;
  int32_t choices = 1;           // answers to the same prompt; choice i is drawn with choice_seed(seed, i)
  bool use_prefix_cache = true;  // goes on from a prefix that was computed before, and leaves its own
  uint64_t cache_salt = 0;       // prefixes are shared among requests with the same salt
  // Of the prompt: what other conversations are likely to begin with, too (instructions, tools); 0: nothing.
  int32_t head_tokens = 0;
  // None, or one for each choice, each its own: they follow their answers. See engine/reply_grammar.h.
  std::vector<std::shared_ptr<TokenConstraint>> constraints;
  // An answer that has fallen into a loop is broken off (grammar/repetition_guard.h); never with ignore_eos.
  bool break_repetition = false;
};

// The seed of a choice: the first has the request's own.
uint64_t choice_seed(uint64_t seed, int32_t choice);

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
  double queue_ms = 0;  // from submit() until the first step that computed any of it
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
  int32_t choice = 0;
  std::string text;                    // whole characters, control tokens left out, nothing from a stop string on
  std::vector<int32_t> tokens;         // new since the last event; a stop token is reported, too
  std::vector<TokenLogprob> logprobs;  // one for each of tokens, when asked for
  std::vector<TokenLogprob> prompt_logprobs;  // for prompt tokens 1, 2, ..., as they become known
  int32_t prompt_done = 0;  // set when a piece of the prompt is computed and more are to come: positions so far
  // Set in the last event of a request.
  FinishReason finish = FinishReason::kNone;
  std::string stop_string;  // what ended the answer, if one of the request's stop strings did
  bool repetition = false;  // the answer was broken off (kStop) because it had fallen into a loop
  Usage usage;
  Timing timing;
  std::optional<SpeculationReport> speculation;  // when a drafter is in use
};

}  // namespace lapidary
