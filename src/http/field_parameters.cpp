#include "http/field_parameters.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "http/http.h"
#include "http/target.h"
#include "http/text.h"

namespace lapidary {
namespace {

constexpr size_t kParametersMax = 16;

std::string lower_ascii(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// text begins behind the opening quote; what follows the closing one is left in it.
Result<std::string> take_quoted(std::string_view& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return out;
    }
    // Only these two are ever escaped; elsewhere a backslash is one (C:\files, from old browsers).
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\')) ++i;
    out.push_back(text[i]);
  }
  return Error{ErrorCode::kInvalidArgument, "a quoted string has no end"};
}

}  // namespace

const std::string* FieldValue::parameter(std::string_view name) const {
  for (const auto& [key, text] : parameters) {
    if (key == name) return &text;
  }
  return nullptr;
}

Result<FieldValue> parse_field_value(std::string_view text) {
  FieldValue field;
  size_t semicolon = text.find(';');
  field.value = lower_ascii(trim_http_space(text.substr(0, semicolon)));
  text.remove_prefix(std::min(semicolon, text.size()));
  while (!text.empty()) {
    text.remove_prefix(1);  // the semicolon
    text = trim_http_space(text);
    if (text.empty() || text.front() == ';') continue;
    const size_t equals = text.find_first_of("=;");
    const std::string name = lower_ascii(trim_http_space(text.substr(0, equals)));
    if (equals == std::string_view::npos || text[equals] != '=' || !http_token(name))
      return Error{ErrorCode::kInvalidArgument, "a malformed parameter, expected NAME=VALUE"};
    if (field.parameter(name) != nullptr)
      return Error{ErrorCode::kInvalidArgument, fmt::format("two parameters {}", name)};
    if (field.parameters.size() >= kParametersMax)
      return Error{ErrorCode::kInvalidArgument, fmt::format("more than {} parameters", kParametersMax)};
    text = trim_http_space(text.substr(equals + 1));
    std::string value;
    if (!text.empty() && text.front() == '"') {
      text.remove_prefix(1);
      ASSIGN_OR_RETURN(value, take_quoted(text));
      text = trim_http_space(text);
      if (!text.empty() && text.front() != ';')
        return Error{ErrorCode::kInvalidArgument, "text behind a quoted string, expected ;"};
    } else {
      semicolon = text.find(';');
      value = trim_http_space(text.substr(0, semicolon));
      text.remove_prefix(std::min(semicolon, text.size()));
    }
    field.parameters.emplace_back(name, std::move(value));
  }
  return field;
}

Result<std::string> decode_extended_value(std::string_view text) {
  const size_t first = text.find('\''), second = first == std::string_view::npos ? first : text.find('\'', first + 1);
  if (second == std::string_view::npos)
    return Error{ErrorCode::kInvalidArgument, "malformed extended value, expected CHARSET'LANGUAGE'TEXT"};
  const std::string_view charset = text.substr(0, first);
  text.remove_prefix(second + 1);
  if (equal_ignoring_case(charset, "utf-8")) return percent_decode(text);
  if (!equal_ignoring_case(charset, "iso-8859-1"))
    return Error{ErrorCode::kInvalidArgument, "extended value in an unknown character set, expected UTF-8"};
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    int code = static_cast<unsigned char>(text[i]);
    if (code == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
      if (low < 0) return Error{ErrorCode::kInvalidArgument, "% is not followed by two hexadecimal digits"};
      code = high * 16 + low;
      i += 2;
    }
    if (code < 0x20 || code == 0x7f) return Error{ErrorCode::kInvalidArgument, "a control character, expected text"};
    utf8_append(out, static_cast<char32_t>(code));
  }
  return out;
}

}  // namespace lapidary
