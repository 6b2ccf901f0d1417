// What a request must be before anything is done for it.
#pragma once

#include "base/result.h"
#include "engine/request.h"
#include "model/config.h"

namespace lapidary {

// context: positions there is room for. Media spans must lie in the prompt, in order, each as long as its input has
// rows (CHECK: whoever wrote the prompt made them); everything else may come from outside. Errors: kInvalidArgument, or
// as check_media.
Result<void> check_request(const GenerationRequest& request, const ModelConfig& config, int32_t context);

}  // namespace lapidary
