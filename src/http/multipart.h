// multipart/form-data (RFC 7578), as uploads send it: parts in any order, files among them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lapidary {

struct MultipartLimits {
  int32_t parts_max = 64;
  int64_t field_bytes_max = 1 << 20;  // of a part without a file name
  int64_t head_bytes_max = 16 << 10;  // header fields of one part
};

struct MultipartPart {
  std::string name;
  std::optional<std::string> filename;  // present: a file. What it is, its bytes say
  std::string content_type;             // as the client calls it, empty when it does not
  std::string_view body;                // into the request's body; UTF-8 when there is no file name
};

// content_type: of the request, with the boundary. Errors: kUnsupported when it is not multipart/form-data, kExhausted
// beyond a limit, else kInvalidArgument.
Result<std::vector<MultipartPart>> parse_multipart(std::string_view content_type, std::string_view body,
                                                   const MultipartLimits& limits = {});

}  // namespace lapidary
