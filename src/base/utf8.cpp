#include "base/utf8.h"

#include <algorithm>

namespace lapidary {
namespace {

struct Lead {
  int bytes;          // length of the whole sequence; 0: not a lead byte
  char32_t bits;      // payload of the lead byte
  uint8_t low, high;  // allowed range of the second byte (Unicode table 3-7)
};

Lead lead_of(uint8_t c) {
  if (c < 0x80) return {1, c, 0, 0};
  if (c >= 0xc2 && c <= 0xdf) return {2, c & 0x1fu, 0x80, 0xbf};
  if (c == 0xe0) return {3, 0, 0xa0, 0xbf};
  if (c == 0xed) return {3, 0xd, 0x80, 0x9f};
  if (c >= 0xe1 && c <= 0xef) return {3, c & 0xfu, 0x80, 0xbf};
  if (c == 0xf0) return {4, 0, 0x90, 0xbf};
  if (c == 0xf4) return {4, 4, 0x80, 0x8f};
  if (c >= 0xf1 && c <= 0xf3) return {4, c & 7u, 0x80, 0xbf};
  return {0, 0, 0, 0};
}

// Length of the well-formed prefix of the sequence at text[at], 1 when even the lead is wrong; code when complete.
Utf8Scalar walk(std::string_view text, size_t at, bool& cut) {
  cut = false;
  const Lead lead = lead_of(static_cast<uint8_t>(text[at]));
  if (lead.bytes == 0) return {0, 1, false};
  char32_t code = lead.bits;
  for (int i = 1; i < lead.bytes; ++i) {
    if (at + static_cast<size_t>(i) >= text.size()) {
      cut = true;
      return {0, i, false};
    }
    const uint8_t c = static_cast<uint8_t>(text[at + static_cast<size_t>(i)]);
    const uint8_t low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xbf;
    if (c < low || c > high) return {0, i, false};
    code = (code << 6) | (c & 0x3fu);
  }
  return {code, lead.bytes, true};
}

}  // namespace

Utf8Scalar utf8_scalar(std::string_view text, size_t at) {
  bool cut = false;
  return walk(text, at, cut);
}

bool utf8_valid(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Scalar scalar = utf8_scalar(text, at);
    if (!scalar.valid) return false;
    at += static_cast<size_t>(scalar.bytes);
  }
  return true;
}

void utf8_append(std::string& out, char32_t code) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  const uint32_t c = code;
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | (c >> 6)), put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | (c >> 12)), put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | (c >> 18)), put(0x80 | ((c >> 12) & 0x3f)), put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f));
  }
}

std::string utf8_repair(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Scalar scalar = utf8_scalar(text, at);
    if (scalar.valid) {
      out.append(text, at, static_cast<size_t>(scalar.bytes));
    } else {
      out.append("\xef\xbf\xbd");
    }
    at += static_cast<size_t>(scalar.bytes);
  }
  return out;
}

size_t utf8_floor(std::string_view text, size_t at) {
  at = std::min(at, text.size());
  while (at > 0 && at < text.size() && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

size_t utf8_incomplete_tail(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const size_t at = text.size() - back;
    if ((static_cast<uint8_t>(text[at]) & 0xc0) == 0x80) continue;
    bool cut = false;
    const Utf8Scalar scalar = walk(text, at, cut);
    return cut && static_cast<size_t>(scalar.bytes) == back ? back : 0;
  }
  return 0;
}

}  // namespace lapidary
