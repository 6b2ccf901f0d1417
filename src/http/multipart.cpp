#include "http/multipart.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "http/field_parameters.h"
#include "http/http.h"
#include "http/text.h"

namespace lapidary {
namespace {

constexpr size_t kBoundaryBytesMax = 70;  // RFC 2046 §5.1.1

Error malformed(std::string_view what) {
  return {ErrorCode::kInvalidArgument, fmt::format("malformed multipart body: {}", what)};
}

Result<std::string> boundary_of(std::string_view content_type) {
  auto field = parse_field_value(content_type);
  if (!field) return malformed(fmt::format("Content-Type has {}", field.error().message));
  if (field->value != "multipart/form-data") {
    return Error{ErrorCode::kUnsupported, fmt::format("expected Content-Type multipart/form-data, found {}",
                                                      field->value.empty() ? "none" : shown(field->value))};
  }
  const std::string* boundary = field->parameter("boundary");
  if (boundary == nullptr) return malformed("Content-Type has no boundary");
  const bool allowed = std::all_of(boundary->begin(), boundary->end(), [](char c) {
    return (http_token_char(c) && std::string_view("!#$%&*^`|~").find(c) == std::string_view::npos) ||
           std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos;
  });
  if (boundary->empty() || boundary->size() > kBoundaryBytesMax || !allowed || boundary->back() == ' ')
    return malformed(fmt::format("expected a boundary of 1 to {} permitted characters", kBoundaryBytesMax));
  return *boundary;
}

struct Delimiter {
  size_t begin = 0, end = 0;  // of the line, with the line end before it and the one behind it
  bool last = false;
};

// Finds CR LF "--boundary" and either "--" or the rest of an empty line. Where that is not what follows, the bytes
// belong to a part.
std::optional<Delimiter> find_delimiter(std::string_view body, size_t from, std::string_view line) {
  for (size_t at = body.find(line, from); at != std::string_view::npos; at = body.find(line, at + 1)) {
    size_t end = at + line.size();
    if (body.substr(end, 2) == "--") return Delimiter{at, end + 2, true};
    while (end < body.size() && (body[end] == ' ' || body[end] == '\t')) ++end;
    if (body.substr(end, 2) == "\r\n") return Delimiter{at, end + 2, false};
  }
  return std::nullopt;
}

Result<void> read_disposition(std::string_view text, MultipartPart& part) {
  auto field = parse_field_value(text);
  if (!field) return malformed(fmt::format("Content-Disposition has {}", field.error().message));
  const std::string* name = field->parameter("name");
  if (field->value != "form-data" || name == nullptr)
    return malformed("expected Content-Disposition: form-data; name=\"...\" in each part");
  if (!utf8_valid(*name)) return malformed("the name of a part is no UTF-8");
  part.name = *name;
  if (const std::string* extended = field->parameter("filename*")) {
    auto filename = decode_extended_value(*extended);
    if (!filename) return malformed(fmt::format("filename*: {}", filename.error().message));
    part.filename = *std::move(filename);
  } else if (const std::string* filename = field->parameter("filename")) {
    part.filename = utf8_repair(*filename);
  }
  return {};
}

// The header fields of the part that begins at `begin`; where its content begins.
Result<size_t> read_part_head(std::string_view body, size_t begin, int64_t bytes_max, MultipartPart& part) {
  bool disposition = false;
  for (size_t at = begin;;) {
    const std::string_view window = body.substr(at, static_cast<size_t>(bytes_max) - (at - begin));
    const size_t line_end = window.find('\n');
    if (line_end == std::string_view::npos) {
      if (at - begin + window.size() < static_cast<size_t>(bytes_max)) return malformed("it ends within a part's head");
      return Error{ErrorCode::kExhausted,
                   fmt::format("the head of a part of the multipart body has more than {} bytes", bytes_max)};
    }
    if (line_end == 0 || window[line_end - 1] != '\r')
      return malformed("a line of a part's head does not end with CR LF");
    const std::string_view line = window.substr(0, line_end - 1);
    at += line_end + 1;
    if (line.empty()) {
      if (!disposition) return malformed("a part without Content-Disposition");
      return at;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !http_token(line.substr(0, colon)))
      return malformed("a malformed header field in a part, expected NAME: VALUE");
    const std::string_view name = line.substr(0, colon), value = trim_http_space(line.substr(colon + 1));
    if (equal_ignoring_case(name, "content-disposition")) {
      if (disposition) return malformed("a part with two Content-Dispositions");
      disposition = true;
      RETURN_IF_ERROR(read_disposition(value, part));
    } else if (equal_ignoring_case(name, "content-type")) {
      part.content_type = value;
    } else if (equal_ignoring_case(name, "content-transfer-encoding") && !equal_ignoring_case(value, "binary") &&
               !equal_ignoring_case(value, "8bit") && !equal_ignoring_case(value, "7bit")) {
      return malformed("a part with a Content-Transfer-Encoding, expected plain bytes");
    }
  }
}

}  // namespace

Result<std::vector<MultipartPart>> parse_multipart(std::string_view content_type, std::string_view body,
                                                   const MultipartLimits& limits) {
  ASSIGN_OR_RETURN(const std::string boundary, boundary_of(content_type));
  const std::string line = "\r\n--" + boundary;
  // The first delimiter may stand at the very beginning; anything before it is a preamble.
  std::optional<Delimiter> delimiter;
  const std::string_view first = std::string_view(line).substr(2);
  if (body.substr(0, first.size()) == first) delimiter = find_delimiter(body, 0, first);
  if (delimiter && delimiter->begin != 0) delimiter.reset();
  if (!delimiter) delimiter = find_delimiter(body, 0, line);
  if (!delimiter) return malformed("the boundary of Content-Type does not occur in it");

  std::vector<MultipartPart> parts;
  while (!delimiter->last) {
    if (static_cast<int64_t>(parts.size()) >= limits.parts_max)
      return Error{ErrorCode::kExhausted, fmt::format("the multipart body has more than {} parts", limits.parts_max)};
    MultipartPart part;
    ASSIGN_OR_RETURN(const size_t begin, read_part_head(body, delimiter->end, limits.head_bytes_max, part));
    // An empty part's content is followed by the line end that also ends its head.
    delimiter = find_delimiter(body, begin - 2, line);
    if (!delimiter) return malformed("the last boundary is missing");
    part.body = delimiter->begin < begin ? std::string_view() : body.substr(begin, delimiter->begin - begin);
    if (!part.filename) {
      if (static_cast<int64_t>(part.body.size()) > limits.field_bytes_max) {
        return Error{ErrorCode::kExhausted,
                     fmt::format("field {} of the multipart body has {} bytes, at most {} are read", shown(part.name),
                                 part.body.size(), limits.field_bytes_max)};
      }
      if (!utf8_valid(part.body)) return malformed(fmt::format("field {} is no UTF-8", shown(part.name)));
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace lapidary
