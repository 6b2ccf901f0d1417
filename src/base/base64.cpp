#include "base/base64.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace lapidary {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint32_t kNoDigit = 1u << 31;  // survives being combined with other digits

// Four tables, one for each place in a group of four digits: the digit's bits where the 24-bit group wants them.
using DigitTable = std::array<uint32_t, 256>;
constexpr DigitTable digit_table(int shift) {
  DigitTable table{};
  for (uint32_t& entry : table) entry = kNoDigit;
  for (uint32_t i = 0; i < kAlphabet.size(); ++i) table[static_cast<uint8_t>(kAlphabet[i])] = i << shift;
  table['-'] = table['+'];
  table['_'] = table['/'];
  return table;
}
constexpr std::array<DigitTable, 4> kDigits = {digit_table(18), digit_table(12), digit_table(6), digit_table(0)};

bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Nothing but what may stand after the last digit: the padding it needs or none of it, and white space.
bool is_padding(std::string_view text, int needed) {
  int found = 0;
  for (const char c : text) {
    if (c == '=') {
      ++found;
    } else if (!is_space(static_cast<uint8_t>(c))) {
      return false;
    }
  }
  return found == 0 || found == needed;
}

}  // namespace

bool decode_base64(std::string_view text, std::string& out) {
  out.resize(text.size() / 4 * 3 + 3);
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = at + text.size();
  char* to = out.data();
  while (true) {
    while (end - at >= 4) {
      const uint32_t group = kDigits[0][at[0]] | kDigits[1][at[1]] | kDigits[2][at[2]] | kDigits[3][at[3]];
      if (group & kNoDigit) break;
      to[0] = static_cast<char>(group >> 16);
      to[1] = static_cast<char>(group >> 8);
      to[2] = static_cast<char>(group);
      to += 3;
      at += 4;
    }
    // White space inside, the end, or a mistake: one group with care.
    uint32_t group = 0;
    int digits = 0;
    for (; digits < 4 && at < end; ++at) {
      if (is_space(*at)) continue;
      const uint32_t digit = kDigits[static_cast<size_t>(digits)][*at];
      if (digit == kNoDigit) break;
      group |= digit;
      ++digits;
    }
    if (digits == 1) return false;
    if (digits >= 2) *to++ = static_cast<char>(group >> 16);
    if (digits >= 3) *to++ = static_cast<char>(group >> 8);
    if (digits < 4) {
      out.resize(static_cast<size_t>(to - out.data()));
      const std::string_view rest(reinterpret_cast<const char*>(at), static_cast<size_t>(end - at));
      return is_padding(rest, digits == 0 ? 0 : 4 - digits);
    }
    *to++ = static_cast<char>(group);
  }
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(bytes.size() - at, 3);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) group = group << 8 | (i < count ? static_cast<uint8_t>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) out += i <= count ? kAlphabet[group >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

}  // namespace lapidary
