#include "cli/result_json.h"

#include <algorithm>
#include <cmath>

namespace lapidary::cli {
namespace {

// JSON has no infinities; -9999 is what clients of other servers know.
double finite_logprob(double logprob) { return std::isfinite(logprob) ? logprob : -9999.0; }

}  // namespace

Json logprob_json(const TokenLogprob& entry) {
  Json top = Json::array();
  for (const auto& [token, logprob] : entry.top) top.push_back(Json::array({token, finite_logprob(logprob)}));
  return {{"token", entry.token}, {"logprob", finite_logprob(entry.logprob)}, {"top", std::move(top)}};
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens}, {"completion_tokens", usage.completion_tokens},
          {"image_tokens", usage.image_tokens},   {"audio_tokens", usage.audio_tokens},
          {"video_tokens", usage.video_tokens},   {"cached_tokens", usage.cached_tokens}};
}

Json timing_json(const Timing& timing, double load_ms) {
  return {{"load_ms", load_ms},
          {"media_ms", timing.media_ms},
          {"prefill_ms", timing.prefill_ms},
          {"decode_ms", timing.decode_ms}};
}

Json speculation_json(const SpeculationReport& report) {
  return {{"rounds", report.rounds},
          {"proposed", report.proposed},
          {"accepted", report.accepted},
          {"drafts", report.drafts}};
}

std::string json_string(std::string_view text) { return dump_json(Json(std::string(text))); }

}  // namespace lapidary::cli
