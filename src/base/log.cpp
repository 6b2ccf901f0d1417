#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>

namespace lapidary {

Result<void> set_log_level(std::string_view level) {
  spdlog::level::level_enum value = spdlog::level::warn;
  if (level == "error") {
    value = spdlog::level::err;
  } else if (level == "warn") {
    value = spdlog::level::warn;
  } else if (level == "info") {
    value = spdlog::level::info;
  } else if (level == "debug") {
    value = spdlog::level::debug;
  } else {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("log level: expected error, warn, info or debug, found \"{}\"", level)};
  }
  static const auto logger = [] {
    auto made = std::make_shared<spdlog::logger>("lapidary", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%^lapidary: %l:%$ %v");
    spdlog::set_default_logger(made);
    return made;
  }();
  logger->set_level(value);
  return {};
}

}  // namespace lapidary
