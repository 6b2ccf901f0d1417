#include "server/openai_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "server/call.h"

namespace lapidary::server {
namespace {

double per_second(double count, double ms) { return ms > 0 ? count / ms * 1000 : 0; }

}  // namespace

Json openai_usage(const AnswerResult& result) {
  const Usage usage = result.usage();
  int64_t accepted = 0, proposed = 0;
  for (const ChoiceResult& choice : result.choices) {
    if (!choice.speculation) continue;
    accepted += choice.speculation->accepted;
    proposed += choice.speculation->proposed;
  }
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details",
           {{"cached_tokens", usage.cached_tokens},
            {"audio_tokens", usage.audio_tokens},
            {"image_tokens", usage.image_tokens},
            {"video_tokens", usage.video_tokens}}},
          {"completion_tokens_details",
           {{"reasoning_tokens", result.thought_tokens()},
            {"accepted_prediction_tokens", accepted},
            {"rejected_prediction_tokens", proposed - accepted},
            {"audio_tokens", 0}}}};
}

namespace {

// Of all choices: the longest of each.
Timing timing_of(const AnswerResult& result) {
  Timing timing;
  for (const ChoiceResult& choice : result.choices) {
    timing.queue_ms = std::max(timing.queue_ms, choice.timing.queue_ms);
    timing.prefill_ms = std::max(timing.prefill_ms, choice.timing.prefill_ms + choice.timing.media_ms);
    timing.decode_ms = std::max(timing.decode_ms, choice.timing.decode_ms);
  }
  return timing;
}

Json timings_json(const AnswerResult& result) {
  const Usage usage = result.usage();
  const Timing timing = timing_of(result);
  int64_t proposed = 0, accepted = 0;
  for (const ChoiceResult& choice : result.choices) {
    if (!choice.speculation) continue;
    proposed += choice.speculation->proposed;
    accepted += choice.speculation->accepted;
  }
  const int32_t computed = usage.prompt_tokens - usage.cached_tokens;
  Json json = {{"cache_n", usage.cached_tokens},
               {"prompt_n", computed},
               {"prompt_ms", timing.prefill_ms},
               {"prompt_per_token_ms", computed > 0 ? timing.prefill_ms / computed : 0},
               {"prompt_per_second", per_second(computed, timing.prefill_ms)},
               {"predicted_n", usage.completion_tokens},
               {"predicted_ms", timing.decode_ms},
               {"predicted_per_token_ms", usage.completion_tokens > 0 ? timing.decode_ms / usage.completion_tokens : 0},
               {"predicted_per_second", per_second(usage.completion_tokens, timing.decode_ms)}};
  if (proposed > 0) {
    json["draft_n"] = proposed;
    json["draft_n_accepted"] = accepted;
  }
  return json;
}

Json metrics_json(const AnswerResult& result) {
  if (result.choices.size() != 1) return nullptr;
  const ChoiceResult& choice = result.choices.front();
  const int32_t tokens = choice.usage.completion_tokens;
  const double generation_ms = AnswerTimes::seconds(result.times.first_token, result.times.ended) * 1000;
  Json json = {{"time_to_first_token_ms", result.times.ttft_s() * 1000},
               {"generation_time_ms", generation_ms},
               {"queue_time_ms", choice.timing.queue_ms},
               {"mean_itl_ms", tokens > 1 ? generation_ms / (tokens - 1) : 0},
               {"tokens_per_second", per_second(tokens, choice.timing.decode_ms)},
               {"speculative_decoding", nullptr}};
  if (!choice.speculation) return json;
  const SpeculationReport& drafts = *choice.speculation;
  const auto share = [](int64_t part, int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  json["speculative_decoding"] = {
      {"mean_acceptance_length", drafts.rounds > 0 ? 1 + share(drafts.accepted, drafts.rounds) : 0},
      {"draft_acceptance_rate", share(drafts.accepted, drafts.proposed)},
      {"num_spec_steps", drafts.rounds},
      {"num_accepted_draft_tokens", drafts.accepted},
      {"num_draft_tokens", drafts.proposed}};
  return json;
}

}  // namespace

void write_measures(Json& out, const AnswerResult& result, Measures measures) {
  out["timings"] = timings_json(result);
  if (measures.metrics) out["metrics"] = metrics_json(result);
  if (!measures.time_info) return;
  const Timing timing = timing_of(result);
  out["time_info"] = {{"queue_time", timing.queue_ms / 1000},
                      {"prompt_time", timing.prefill_ms / 1000},
                      {"completion_time", timing.decode_ms / 1000},
                      {"total_time", result.times.total_s()},
                      {"created", unix_seconds()}};
}

std::string server_timing(const AnswerResult& result) {
  const Timing timing = timing_of(result);
  return fmt::format("queue;dur={:.1f}, prefill;dur={:.1f}, decode;dur={:.1f}", timing.queue_ms, timing.prefill_ms,
                     timing.decode_ms);
}

double clamped_logprob(double logprob) { return std::isfinite(logprob) ? std::max(logprob, -9999.0) : -9999.0; }

std::string token_text(const Tokenizer& tokenizer, int32_t token) {
  return tokenizer.is_special(token) ? std::string(tokenizer.piece(token)) : utf8_repair(tokenizer.bytes_of(token));
}

Json token_logprob_json(const Tokenizer& tokenizer, int32_t token, double logprob) {
  Json bytes = Json::array();
  const std::string raw = tokenizer.is_special(token) ? std::string(tokenizer.piece(token)) : tokenizer.bytes_of(token);
  for (const char c : raw) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token_text(tokenizer, token)}, {"logprob", clamped_logprob(logprob)}, {"bytes", std::move(bytes)}};
}

Json chat_logprob_json(const Tokenizer& tokenizer, const TokenLogprob& entry, int32_t top) {
  Json json = token_logprob_json(tokenizer, entry.token, entry.logprob);
  Json& best = json["top_logprobs"] = Json::array();
  for (const auto& [token, logprob] : entry.top) {
    if (static_cast<int32_t>(best.size()) == top) break;
    best.push_back(token_logprob_json(tokenizer, token, logprob));
  }
  return json;
}

const char* openai_finish_reason(const ChoiceResult& choice, bool legacy_functions) {
  if (choice.end == AnswerEnd::kLength) return "length";
  if (choice.calls_tools()) return legacy_functions ? "function_call" : "tool_calls";
  return "stop";
}

Json stop_reason_json(const ChoiceResult& choice) {
  if (choice.end == AnswerEnd::kStopString) return choice.stop_string;
  if (choice.end == AnswerEnd::kRepetition) return "repetition";
  if (choice.stop_token) return *choice.stop_token;
  return nullptr;
}

}  // namespace lapidary::server
