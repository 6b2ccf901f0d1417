// The little that has to be known of a URL's text before somebody who knows it well takes over.
#pragma once

#include <algorithm>
#include <string_view>

namespace lapidary::server {

inline char lower_ascii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

inline bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower_ascii(x) == lower_ascii(y); });
}

inline bool has_prefix_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && equals_ignoring_case(text.substr(0, prefix.size()), prefix);
}

inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n\f";
  const size_t first = text.find_first_not_of(kSpaces);
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(kSpaces) + 1 - first);
}

// What stands before the first colon, when it can be a scheme; else empty.
inline std::string_view url_scheme(std::string_view url) {
  const size_t colon = url.substr(0, 32).find(':');
  if (colon == std::string_view::npos || colon == 0) return {};
  const auto is_scheme = [](char c) {
    c = lower_ascii(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  };
  return std::all_of(url.begin(), url.begin() + static_cast<std::ptrdiff_t>(colon), is_scheme) ? url.substr(0, colon)
                                                                                               : std::string_view();
}

inline bool has_scheme(std::string_view url, std::string_view scheme) {
  return equals_ignoring_case(url_scheme(url), scheme);
}

}  // namespace lapidary::server
