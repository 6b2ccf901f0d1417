#include "grammar/code_points.h"

#include <algorithm>
#include <array>

namespace lapidary {
namespace {

constexpr uint32_t kSurrogateLow = 0xd800, kSurrogateHigh = 0xdfff, kLast = 0x10ffff;
constexpr char kHex[] = "0123456789abcdef";

int encode(uint32_t code, std::array<uint8_t, 4>& out) {
  const auto tail = [&](int shift) { return static_cast<uint8_t>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) return out = {static_cast<uint8_t>(code)}, 1;
  if (code < 0x800) return out = {static_cast<uint8_t>(0xc0 | code >> 6), tail(0)}, 2;
  if (code < 0x10000) return out = {static_cast<uint8_t>(0xe0 | code >> 12), tail(6), tail(0)}, 3;
  return out = {static_cast<uint8_t>(0xf0 | code >> 18), tail(12), tail(6), tail(0)}, 4;
}

// Scalars of one encoded length whose bytes form a product of byte ranges: cut until the tails run over whole blocks.
void add_utf8(Nfa& nfa, uint32_t from, uint32_t to, uint32_t low, uint32_t high, uint8_t flags) {
  for (const uint32_t last : {0x7fu, 0x7ffu, 0xffffu}) {
    if (low <= last && last < high) {
      add_utf8(nfa, from, to, low, last, flags);
      return add_utf8(nfa, from, to, last + 1, high, flags);
    }
  }
  for (int i = 1; i < 4 && high >= 0x80; ++i) {
    const uint32_t block = (1u << (6 * i)) - 1;
    if ((low & ~block) == (high & ~block)) continue;
    if ((low & block) != 0) {
      add_utf8(nfa, from, to, low, low | block, flags);
      return add_utf8(nfa, from, to, (low | block) + 1, high, flags);
    }
    if ((high & block) != block) {
      add_utf8(nfa, from, to, low, (high & ~block) - 1, flags);
      return add_utf8(nfa, from, to, high & ~block, high, flags);
    }
  }
  std::array<uint8_t, 4> first{}, last{};
  const int bytes = encode(low, first);
  encode(high, last);
  for (int i = 0; i < bytes; ++i) {
    const uint32_t next = i + 1 == bytes ? to : nfa.add();
    nfa.edge(from, first[i], last[i], next, i == 0 ? flags : uint8_t{0});
    from = next;
  }
}

bool needs_escape(uint32_t code) { return code < 0x20 || code == '"' || code == '\\'; }

std::string escape_of(uint32_t code) {
  switch (code) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\t':
      return "\\t";
    case '\n':
      return "\\n";
    case '\f':
      return "\\f";
    case '\r':
      return "\\r";
    default:
      return std::string("\\u00") + kHex[code >> 4] + kHex[code & 15];
  }
}

}  // namespace

CodePointSet::CodePointSet(const std::vector<CodePointRange>& ranges) {
  std::vector<CodePointRange> cut;
  for (const CodePointRange& range : ranges) {
    const uint32_t high = std::min(range.high, kLast);
    if (range.low > high) continue;
    if (range.low < kSurrogateLow) cut.push_back({range.low, std::min(high, kSurrogateLow - 1)});
    if (high > kSurrogateHigh) cut.push_back({std::max(range.low, kSurrogateHigh + 1), high});
  }
  std::sort(cut.begin(), cut.end(), [](const auto& a, const auto& b) { return a.low < b.low; });
  for (const CodePointRange& range : cut) {
    if (!ranges_.empty() && range.low <= ranges_.back().high + 1) {
      ranges_.back().high = std::max(ranges_.back().high, range.high);
    } else {
      ranges_.push_back(range);
    }
  }
}

CodePointSet CodePointSet::with(const CodePointSet& other) const {
  std::vector<CodePointRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePointSet(both);
}

CodePointSet CodePointSet::complement() const {
  std::vector<CodePointRange> gaps;
  uint32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.low > next) gaps.push_back({next, range.low - 1});
    next = range.high + 1;
  }
  if (next <= kLast) gaps.push_back({next, kLast});
  return CodePointSet(gaps);
}

void add_code_points(Nfa& nfa, uint32_t from, uint32_t to, const CodePointSet& set, Spelling spelling,
                     uint8_t first_flags) {
  for (const CodePointRange& range : set.ranges()) {
    uint32_t low = range.low;
    if (spelling == Spelling::kJson) {
      for (uint32_t code = low; code <= range.high && code <= '\\'; ++code) {
        if (!needs_escape(code)) continue;
        if (low < code) add_utf8(nfa, from, to, low, code - 1, first_flags);
        nfa.literal_to(from, escape_of(code), to, first_flags);
        low = code + 1;
      }
    }
    if (low <= range.high) add_utf8(nfa, from, to, low, range.high, first_flags);
  }
}

std::string spelled(std::string_view text, Spelling spelling) {
  if (spelling == Spelling::kRaw) return std::string(text);
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (needs_escape(byte)) {
      out += escape_of(byte);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace lapidary
