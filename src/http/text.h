// Characters of HTTP's own grammar (RFC 9110 §5.6).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lapidary {

// tchar: what methods, names of fields and codings are made of.
constexpr bool http_token_char(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

constexpr bool http_token(std::string_view text) {
  for (const char c : text) {
    if (!http_token_char(c)) return false;
  }
  return !text.empty();
}

constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) {  // ASCII letters
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

// The value of a hexadecimal digit, or -1.
constexpr int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Optional white space: spaces and tabs.
constexpr std::string_view trim_http_space(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes the next element of a comma-separated list off its front, trimmed; empty elements come out empty.
constexpr std::string_view next_list_element(std::string_view& list) {
  const size_t comma = list.find(',');
  const std::string_view element = trim_http_space(list.substr(0, comma));
  list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  return element;
}

// The client's own words for an error message: valid UTF-8, at most 100 bytes of them.
std::string shown(std::string_view text);

}  // namespace lapidary
