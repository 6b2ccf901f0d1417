// Checking tool declarations at the door, so that writing them cannot fail.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace lapidary {

// tools: [{"type": "function", "function": {...}}] or bare functions {"name", "description", "parameters"}; null is an
// empty list. Returns the list in the first form. Errors: kInvalidArgument that names source, the JSON pointer of what
// is wrong ("/0/function/parameters/properties/city/type"), what was expected and what was found.
Result<Json> check_tools(const Json& tools, std::string_view source);

}  // namespace lapidary
