#include "grammar/regex.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/utf8.h"

namespace lapidary {
namespace {

constexpr int kGroupDepthMax = 100;

struct Node {
  enum class Kind : uint8_t { kEmpty, kSet, kSequence, kChoice, kRepeat, kStart, kEnd };
  Kind kind = Kind::kEmpty;
  CodePointSet set;
  std::vector<Node> parts;
  int32_t min = 0, max = -1;  // of kRepeat; max -1: no bound
};

CodePointSet digits() { return CodePointSet({{'0', '9'}}); }
CodePointSet word() { return CodePointSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}); }
CodePointSet spaces() {
  return CodePointSet({{'\t', '\r'},
                       {' ', ' '},
                       {0xa0, 0xa0},
                       {0x1680, 0x1680},
                       {0x2000, 0x200a},
                       {0x2028, 0x2029},
                       {0x202f, 0x202f},
                       {0x205f, 0x205f},
                       {0x3000, 0x3000}});
}
// Space in ECMA-262 or in Python, but not in both.
CodePointSet disputed_spaces() { return CodePointSet({{0x1c, 0x1f}, {0x85, 0x85}, {0xfeff, 0xfeff}}); }
CodePointSet line_ends() { return CodePointSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}); }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Node> parse() {
    if (text_.size() > static_cast<size_t>(kLimits.regex_bytes_max)) {
      return Error{ErrorCode::kExhausted,
                   fmt::format("pattern: {} bytes, at most {}", text_.size(), kLimits.regex_bytes_max)};
    }
    if (!utf8_valid(text_)) return Error{ErrorCode::kInvalidArgument, "pattern: expected valid UTF-8"};
    ASSIGN_OR_RETURN(Node node, choice(0));
    if (at_ < text_.size()) return bad("expected the end, found ')'");
    return node;
  }

 private:
  bool more() const { return at_ < text_.size(); }
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  Error bad(std::string_view what) const {
    return {ErrorCode::kInvalidArgument, fmt::format("pattern: byte {}: {}", at_, what)};
  }
  Error refused(std::string_view what) const {
    return {ErrorCode::kUnsupported, fmt::format("pattern: byte {}: {} not supported", at_, what)};
  }

  Result<Node> choice(int depth) {
    if (depth > kGroupDepthMax) {
      return Error{ErrorCode::kExhausted, fmt::format("pattern: groups nest deeper than {}", kGroupDepthMax)};
    }
    Node node;
    node.kind = Node::Kind::kChoice;
    do {
      ASSIGN_OR_RETURN(Node part, sequence(depth));
      node.parts.push_back(std::move(part));
    } while (take("|"));
    if (node.parts.size() > 1) return node;
    Node only = std::move(node.parts.front());
    return only;
  }

  Result<Node> sequence(int depth) {
    Node node;
    node.kind = Node::Kind::kSequence;
    while (more() && text_[at_] != '|' && text_[at_] != ')') {
      ASSIGN_OR_RETURN(Node item, atom(depth));
      RETURN_IF_ERROR(quantifiers(item));
      node.parts.push_back(std::move(item));
    }
    return node;
  }

  Result<Node> atom(int depth) {
    Node node;
    if (take("^")) return node.kind = Node::Kind::kStart, node;
    if (take("$")) return node.kind = Node::Kind::kEnd, node;
    if (take("(")) {
      if (take("?")) RETURN_IF_ERROR(group_kind());
      ASSIGN_OR_RETURN(node, choice(depth + 1));
      if (!take(")")) return bad("expected ')'");
      return node;
    }
    node.kind = Node::Kind::kSet;
    if (take(".")) return node.set = line_ends().complement(), node;
    if (take("[")) {
      ASSIGN_OR_RETURN(node.set, bracket());
      return node;
    }
    int32_t min = 0, max = -1;
    if (quantifier(min, max)) return bad("nothing to repeat");
    if (take("\\")) {
      ASSIGN_OR_RETURN(node.set, escape(false));
      return node;
    }
    node.set = one(scalar());
    return node;
  }

  Result<void> group_kind() {
    if (take(":")) return {};
    if (take("=") || take("!") || take("<=") || take("<!")) return refused("lookaround is");
    if (take("<") || take("P<")) {
      const size_t end = text_.find('>', at_);
      if (end == std::string_view::npos) return bad("expected '>' after a group's name");
      at_ = end + 1;
      return {};
    }
    return refused("this kind of group is");
  }

  Result<void> quantifiers(Node& item) {
    int32_t min = 0, max = -1;
    const size_t begin = at_;
    if (!quantifier(min, max)) return {};
    if (min > kLimits.regex_repeat_max || max > kLimits.regex_repeat_max) {
      return Error{ErrorCode::kExhausted,
                   fmt::format("pattern: byte {}: repetition beyond {}", begin, kLimits.regex_repeat_max)};
    }
    if (max >= 0 && max < min) return bad("repetition with its bounds in the wrong order");
    if (item.kind == Node::Kind::kStart || item.kind == Node::Kind::kEnd) return bad("nothing to repeat");
    if (take("+")) return refused("a possessive quantifier is");
    take("?");  // lazy: the same texts match
    Node repeat;
    repeat.kind = Node::Kind::kRepeat;
    repeat.min = min;
    repeat.max = max;
    repeat.parts.push_back(std::move(item));
    item = std::move(repeat);
    return {};
  }

  bool quantifier(int32_t& min, int32_t& max) {
    const size_t begin = at_;
    if (take("*")) return true;
    if (take("+")) return min = 1, true;
    if (take("?")) return max = 1, true;
    if (take("{") && braces(min, max)) return true;
    at_ = begin;  // a brace that is no quantifier is itself, as in browsers
    return false;
  }

  std::optional<int32_t> number() {
    const size_t begin = at_;
    int32_t value = 0;
    while (more() && text_[at_] >= '0' && text_[at_] <= '9')
      value = std::min(value * 10 + (text_[at_++] - '0'), 1'000'000);
    return at_ > begin ? std::optional(value) : std::nullopt;
  }

  bool braces(int32_t& min, int32_t& max) {
    const std::optional<int32_t> low = number();
    if (!low) return false;
    min = max = *low;
    if (take(",")) {
      const std::optional<int32_t> high = number();
      max = high ? *high : -1;
    }
    return take("}");
  }

  uint32_t scalar() {
    const Utf8Scalar found = utf8_scalar(text_, at_);
    at_ += static_cast<size_t>(found.bytes);
    return static_cast<uint32_t>(found.code);
  }

  static CodePointSet one(uint32_t code) { return CodePointSet({{code, code}}); }

  std::optional<uint32_t> hex(int digits_min, int digits_max) {
    uint32_t value = 0;
    int count = 0;
    while (count < digits_max && more()) {
      const char c = text_[at_];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) break;
      value = value * 16 + static_cast<uint32_t>(digit);
      ++at_, ++count;
    }
    return count >= digits_min ? std::optional(value) : std::nullopt;
  }

  // After the backslash.
  Result<CodePointSet> escape(bool in_bracket) {
    if (!more()) return bad("a backslash at the end");
    const uint32_t code = scalar();
    switch (code) {
      case 'd':
        return digits();
      case 'D':
        return digits().complement();
      case 'w':
        return word();
      case 'W':
        return word().complement();
      case 's':
        return spaces();
      case 'S':
        return spaces().with(disputed_spaces()).complement();
      case 't':
        return one('\t');
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case 'b':
        if (in_bracket) return one('\b');
        return refused("\\b is");
      case 'B':
        return refused("\\B is");
      case 'p':
      case 'P':
        return refused("\\p is");
      case 'k':
        return refused("a backreference is");
      case 'c': {
        const uint32_t letter = more() ? scalar() : 0;
        if ((letter | 0x20) < 'a' || (letter | 0x20) > 'z') return bad("expected a letter after \\c");
        return one(letter & 31);
      }
      case 'x': {
        const std::optional<uint32_t> value = hex(2, 2);
        if (!value) return bad("expected two hexadecimal digits");
        return one(*value);
      }
      case 'u': {
        const bool braced = take("{");
        std::optional<uint32_t> value = braced ? hex(1, 6) : hex(4, 4);
        if (!value || (braced && !take("}"))) return bad("expected a code point after \\u");
        if (*value >= 0xd800 && *value < 0xdc00 && take("\\u")) {
          const std::optional<uint32_t> low = hex(4, 4);
          if (!low || *low < 0xdc00 || *low > 0xdfff) return bad("expected the second half of a surrogate pair");
          value = 0x10000 + ((*value - 0xd800) << 10) + (*low - 0xdc00);
        }
        if (*value > 0x10ffff || (*value >= 0xd800 && *value <= 0xdfff)) return bad("no such character");
        return one(*value);
      }
      default:
        break;
    }
    if (code == '0' && (!more() || text_[at_] < '0' || text_[at_] > '9')) return one(0);
    if (code >= '0' && code <= '9') return refused("a backreference is");
    if ((code | 0x20) >= 'a' && (code | 0x20) <= 'z') return refused("this escape is");
    return one(code);
  }

  // After the opening bracket.
  Result<CodePointSet> bracket() {
    const bool negated = take("^");
    CodePointSet set;
    while (true) {
      if (!more()) return bad("expected ']'");
      if (take("]")) break;
      ASSIGN_OR_RETURN(CodePointSet low, bracket_item());
      const bool range = text_.substr(at_).starts_with("-") && !text_.substr(at_).starts_with("-]");
      if (!range) {
        set = set.with(low);
        continue;
      }
      ++at_;
      ASSIGN_OR_RETURN(CodePointSet high, bracket_item());
      if (!single(low) || !single(high)) return bad("a range between classes");
      if (low.ranges()[0].low > high.ranges()[0].low) return bad("a range in the wrong order");
      set = set.with(CodePointSet({{low.ranges()[0].low, high.ranges()[0].low}}));
    }
    return negated ? set.complement() : set;
  }

  Result<CodePointSet> bracket_item() {
    if (!more()) return bad("expected ']'");
    if (take("\\")) return escape(true);
    return one(scalar());
  }

  static bool single(const CodePointSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].low == set.ranges()[0].high;
  }

  std::string_view text_;
  size_t at_ = 0;
};

class Writer {
 public:
  Writer(Spelling spelling, CompileBudget& budget) : spelling_(spelling), budget_(budget) {}

  Nfa nfa;

  // States added stay within the budget: nested repetitions multiply.
  bool write(const Node& node, uint32_t from, uint32_t to) {
    if (nfa.states > static_cast<uint32_t>(budget_.states) || !budget_.spend(1)) return false;
    switch (node.kind) {
      case Node::Kind::kEmpty:
        nfa.empty(from, to);
        return true;
      case Node::Kind::kStart:
        nfa.empty(from, to, Anchor::kAtStart);
        return true;
      case Node::Kind::kEnd:
        nfa.empty(from, to, Anchor::kAtEnd);
        return true;
      case Node::Kind::kSet:
        add_code_points(nfa, from, to, node.set, spelling_);
        return budget_.spend(static_cast<int64_t>(node.set.ranges().size()));
      case Node::Kind::kChoice:
        for (const Node& part : node.parts) {
          if (!write(part, from, to)) return false;
        }
        return true;
      case Node::Kind::kSequence:
        for (const Node& part : node.parts) {
          const uint32_t next = nfa.add();
          if (!write(part, from, next)) return false;
          from = next;
        }
        nfa.empty(from, to);
        return true;
      case Node::Kind::kRepeat:
        return repeat(node, from, to);
    }
    return false;
  }

 private:
  bool repeat(const Node& node, uint32_t from, uint32_t to) {
    for (int32_t i = 0; i < node.min; ++i) {
      const uint32_t next = nfa.add();
      if (!write(node.parts[0], from, next)) return false;
      from = next;
    }
    if (node.max < 0) {
      const uint32_t loop = nfa.add();
      nfa.empty(from, loop);
      nfa.empty(loop, to);
      const uint32_t back = nfa.add();
      nfa.empty(back, loop);
      return write(node.parts[0], loop, back);
    }
    nfa.empty(from, to);
    for (int32_t i = node.min; i < node.max; ++i) {
      const uint32_t next = nfa.add();
      if (!write(node.parts[0], from, next)) return false;
      nfa.empty(next, to);
      from = next;
    }
    return true;
  }

  Spelling spelling_;
  CompileBudget& budget_;
};

}  // namespace

Result<Dfa> compile_regex_dfa(std::string_view pattern, RegexMatch match, Spelling spelling, CompileBudget& budget) {
  ASSIGN_OR_RETURN(const Node tree, Parser(pattern).parse());
  Writer writer(spelling, budget);
  Nfa& nfa = writer.nfa;
  const uint32_t begin = nfa.add(), end = nfa.add();
  nfa.empty(0, begin);
  nfa.accept(end);
  if (match == RegexMatch::kAnywhere) {
    // Anything before and after. Whoever took the way round an anchor's end of the text finds nothing more to read.
    add_code_points(nfa, begin, begin, CodePointSet::all(), spelling);
    add_code_points(nfa, end, end, CodePointSet::all(), spelling);
  }
  if (!writer.write(tree, begin, end)) return budget.exceeded();
  ASSIGN_OR_RETURN(const Dfa dfa, determinise(nfa, budget));
  return reduce(dfa, budget);
}

Result<void> check_regex(std::string_view pattern) {
  const Result<Node> tree = Parser(pattern).parse();
  return tree ? Result<void>() : Result<void>(tree.error());
}

std::optional<CountedSet> as_counted_set(std::string_view pattern, RegexMatch match) {
  const Result<Node> tree = Parser(pattern).parse();
  if (!tree || tree->kind != Node::Kind::kSequence) return std::nullopt;
  size_t first = 0, last = tree->parts.size();
  bool from_start = match == RegexMatch::kWhole, to_end = from_start;
  while (first < last && tree->parts[first].kind == Node::Kind::kStart) ++first, from_start = true;
  while (last > first && tree->parts[last - 1].kind == Node::Kind::kEnd) --last, to_end = true;
  if (!from_start || !to_end || last - first != 1) return std::nullopt;
  const Node& repeat = tree->parts[first];
  if (repeat.kind != Node::Kind::kRepeat || repeat.parts[0].kind != Node::Kind::kSet) return std::nullopt;
  return CountedSet{repeat.parts[0].set, repeat.min, repeat.max};
}

}  // namespace lapidary
