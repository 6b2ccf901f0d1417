// The pieces of run's and score's JSON, as the interface promises them.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "engine/request.h"

namespace lapidary::cli {

Json logprob_json(const TokenLogprob& entry);  // {"token", "logprob", "top": [[id, logprob], ...]}
Json usage_json(const Usage& usage);
Json timing_json(const Timing& timing, double load_ms);
Json speculation_json(const SpeculationReport& report);
std::string json_string(std::string_view text);  // as a JSON string, for tables

}  // namespace lapidary::cli
