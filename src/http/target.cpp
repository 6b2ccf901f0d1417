#include "http/target.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "http/text.h"

namespace lapidary {
namespace {

constexpr size_t kSegmentsMax = 64, kParametersMax = 64;

}  // namespace

Result<std::string> percent_decode(std::string_view text, bool form) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
      if (low < 0) return Error{ErrorCode::kInvalidArgument, "% is not followed by two hexadecimal digits"};
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && form) {
      c = ' ';
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return Error{ErrorCode::kInvalidArgument, "a control character, expected text"};
    out.push_back(c);
  }
  if (!utf8_valid(out)) return Error{ErrorCode::kInvalidArgument, "bytes that are no UTF-8"};
  return out;
}

Result<RequestTarget> parse_target(std::string_view target) {
  const auto wrong = [](std::string_view what) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("malformed request target: {}", what)};
  };
  if (target.empty() || target.front() != '/') return wrong("expected a path that begins with a slash");
  if (target.find('#') != std::string_view::npos) return wrong("a fragment");
  const size_t mark = target.find('?');
  std::string_view path = target.substr(0, mark);
  std::string_view query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);

  RequestTarget parsed;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (segment.empty()) continue;
    if (parsed.segments.size() >= kSegmentsMax)
      return Error{ErrorCode::kExhausted, fmt::format("the path has more than {} segments", kSegmentsMax)};
    // Checked here, once; rest() unescapes what routing leaves over.
    if (const auto text = percent_decode(segment); !text) return wrong(text.error().message);
    parsed.segments.push_back(segment);
  }
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (pair.empty()) continue;
    if (parsed.query.size() >= kParametersMax)
      return Error{ErrorCode::kExhausted, fmt::format("the query has more than {} parameters", kParametersMax)};
    const size_t equals = pair.find('=');
    auto name = percent_decode(pair.substr(0, equals), true);
    auto value = percent_decode(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), true);
    if (!name) return wrong(name.error().message);
    if (!value) return wrong(value.error().message);
    parsed.query.emplace_back(*std::move(name), *std::move(value));
  }
  return parsed;
}

std::string RequestTarget::rest(size_t first) const {
  std::string joined;
  for (size_t i = first; i < segments.size(); ++i) {
    if (i > first) joined.push_back('/');
    joined += *percent_decode(segments[i]);
  }
  return joined;
}

const std::string* RequestTarget::parameter(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return &value;
  }
  return nullptr;
}

}  // namespace lapidary
