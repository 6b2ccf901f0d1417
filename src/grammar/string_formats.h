// `format` of a JSON Schema as patterns.
#pragma once

#include <string_view>

namespace lapidary {

// The pattern (to be matched whole) of a format: date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid,
// uri. Empty for others: they are annotations, as JSON Schema says.
std::string_view format_pattern(std::string_view format);

}  // namespace lapidary
