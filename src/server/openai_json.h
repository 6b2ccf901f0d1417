// Objects that several surfaces of the OpenAI dialect write: usage, timings, log-probabilities.
#pragma once

#include <string>

#include "server/answer.h"
#include "text/tokenizer.h"

namespace lapidary::server {

Json openai_usage(const AnswerResult& result);

// What an answer took, as several servers say it. Which of them: of ServeOptions.
struct Measures {
  bool time_info = false;  // Cerebras': seconds in the queue, for the prompt, for the answer
  bool metrics = false;    // vLLM's: rates and what drafts did; null for several choices
};
// "timings" (llama-server's) always, and what was asked for beside it.
void write_measures(Json& out, const AnswerResult& result, Measures measures);
// The same in a header, for answers that are sent whole.
std::string server_timing(const AnswerResult& result);

// {"token", "logprob", "bytes"}: natural logarithms, not below -9999.
Json token_logprob_json(const Tokenizer& tokenizer, int32_t token, double logprob);
// With "top_logprobs", at most `top` of them.
Json chat_logprob_json(const Tokenizer& tokenizer, const TokenLogprob& entry, int32_t top);
// Bytes as text: U+FFFD for what is no UTF-8.
std::string token_text(const Tokenizer& tokenizer, int32_t token);
double clamped_logprob(double logprob);

// "stop", "length", "tool_calls", "function_call".
const char* openai_finish_reason(const ChoiceResult& choice, bool legacy_functions);
// vLLM's: the stop string, the stop token's id, "repetition", or null.
Json stop_reason_json(const ChoiceResult& choice);

}  // namespace lapidary::server
