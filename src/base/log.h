// Logging to stderr through spdlog; stdout belongs to the answer.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "base/result.h"

namespace lapidary {

// level: error, warn, info or debug. Errors: kInvalidArgument for another word.
Result<void> set_log_level(std::string_view level);

}  // namespace lapidary
