// Header field values with parameters: form-data; name="file"; filename*=UTF-8''caf%C3%A9.wav
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace lapidary {

struct FieldValue {
  std::string value;                                            // before the first semicolon, lower case
  std::vector<std::pair<std::string, std::string>> parameters;  // names in lower case, quotes undone

  const std::string* parameter(std::string_view name) const;
};

// Errors: kInvalidArgument for a quote without end, a parameter without a name or a name that comes twice.
Result<FieldValue> parse_field_value(std::string_view text);

// The text of name*=charset'language'escaped (RFC 8187); UTF-8 and ISO-8859-1. Errors: kInvalidArgument.
Result<std::string> decode_extended_value(std::string_view text);

}  // namespace lapidary
