// A request's target, taken apart: /v1/models/google%2Fgemma?x=1.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace lapidary {

struct RequestTarget {
  // Between the slashes, still escaped, so that an escaped slash separates nothing. Doubled slashes and one at the end
  // leave no trace; "/" has none of these.
  std::vector<std::string_view> segments;                  // into the target
  std::vector<std::pair<std::string, std::string>> query;  // in order, unescaped; "x" alone has an empty value

  // Segments [first, end) unescaped and joined with slashes: a model's name however its slash was written.
  std::string rest(size_t first) const;
  // The value of the first parameter of that name; nullptr: there is none.
  const std::string* parameter(std::string_view name) const;
};

// Errors: kInvalidArgument for a target that does not begin with a slash, a damaged escape, bytes that are no UTF-8 or
// control characters once unescaped; kExhausted beyond 64 segments or 64 parameters.
Result<RequestTarget> parse_target(std::string_view target);

// %41 becomes A. form: a plus sign is a space. Errors: kInvalidArgument.
Result<std::string> percent_decode(std::string_view text, bool form = false);

}  // namespace lapidary
