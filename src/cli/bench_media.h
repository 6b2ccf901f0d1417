// How fast pictures and sound become soft tokens, for `bench`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"

namespace lapidary::cli {

struct Measurement {
  std::string test;  // "prefill 512", "decode 32 @ 0", "picture 280"
  double tokens_per_second = 0;
  double bytes_per_token = 0;  // decode: weights and K/V read for one token
  double bandwidth = 0;        // bytes/s measured around the run; 0 where it does not limit
  double cost = 0;             // verify: time of the step over that of a step of one token
  double flop_per_token = 0;   // of matrix products, where arithmetic limits
  double fraction() const { return bandwidth > 0 ? tokens_per_second * bytes_per_token / bandwidth : 0; }
};

double median(std::vector<double> values);

// Encodes noise: a 4:3 picture at each budget, sound of each length; the model is opened for itself. A token is a soft
// token. Errors: kUnsupported where the model takes no pictures or no sound, and those of opening it.
Result<std::vector<Measurement>> measure_media(const ModelOptions& options, const std::vector<int32_t>& budgets,
                                               const std::vector<int32_t>& seconds, int32_t repeat);

}  // namespace lapidary::cli
