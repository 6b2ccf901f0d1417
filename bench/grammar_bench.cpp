// What constrained output costs a step: masks over a synthetic vocabulary of the released size, and compiling.
// Percentiles over the steps of whole answers; "first" is a program that has just started, "warm" the second answer of
// the same grammar, whose leaves are known.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "base/rng.h"
#include "grammar/compile.h"
#include "grammar/matcher.h"

namespace {

using namespace lapidary;
constexpr int32_t kVocabulary = 262'144;

// Processor time of this thread: what other programs of a shared machine take does not show.
double now_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) * 1e-3;
}

double microseconds(double from) { return now_us() - from; }

// Words of 1 to 12 letters with and without a space before them, digits, runs of spaces and line feeds, punctuation
// with words around it as it stands in source code, and characters of other scripts: about the shape of Gemma's
// vocabulary.
std::shared_ptr<const TokenTrie> synthetic_trie() {
  std::set<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.insert(std::string(1, static_cast<char>(byte)));
  for (int run = 1; run < 32; ++run)
    texts.insert(std::string(static_cast<size_t>(run), ' ')), texts.insert(std::string(static_cast<size_t>(run), '\n'));
  const std::vector<std::string> marks{"\"", "\":", "\",", "\", \"", "{\"", "\"}", "]", "],",  "[",   "}",
                                       "},", ":",   ", ",  "():",    "<",   "/",   ".", "=\"", "\">", "\\n"};
  for (const std::string& a : marks) {
    for (const std::string& b : marks) texts.insert(a + b);
  }
  for (uint64_t i = 0; texts.size() < kVocabulary - 1; ++i) {
    const auto draw = [&](uint64_t salt, uint64_t below) { return hash_counter(1, i, salt) % below; };
    std::string text = draw(0, 2) == 0 ? " " : "";
    const uint64_t letters = 1 + draw(1, 12), script = draw(2, 10);
    for (uint64_t l = 0; l < letters && (script < 7 || l < 5); ++l) {
      if (script < 7) {
        text += static_cast<char>('a' + draw(10 + l, 26));
      } else {  // two and three bytes a character
        const uint64_t code = script == 7 ? 0x430 + draw(10 + l, 32) : 0x4e00 + draw(10 + l, 4000);
        if (code < 0x800) {
          text += static_cast<char>(0xc0 | code >> 6);
        } else {
          text += static_cast<char>(0xe0 | code >> 12);
          text += static_cast<char>(0x80 | (code >> 6 & 0x3f));
        }
        text += static_cast<char>(0x80 | (code & 0x3f));
      }
    }
    if (draw(3, 60) == 0) text += marks[draw(4, marks.size())];
    if (draw(5, 120) == 0) text = marks[draw(6, marks.size())] + text;
    texts.insert(text);
  }
  std::vector<std::string> list(texts.begin(), texts.end());
  list.insert(list.begin(), "");  // id 0 ends an answer
  return std::make_shared<TokenTrie>(std::move(list), std::vector<std::pair<std::string, int32_t>>{},
                                     std::vector<int32_t>{0});
}

// Times of every mask of one answer; text is cut into the longest tokens.
std::vector<double> masks_of(const GrammarPtr& grammar, const std::shared_ptr<MaskLibrary>& library,
                             const std::string& text) {
  const TokenTrie& trie = library->trie();
  GrammarMatcher matcher(grammar, library);
  std::vector<uint64_t> mask(trie.mask_words());
  std::vector<double> times;
  for (size_t at = 0; at <= text.size();) {
    const double begin = now_us();
    matcher.mask(mask);
    times.push_back(microseconds(begin));
    if (at == text.size()) break;
    int32_t longest = -1;
    for (uint32_t node = 1; node < trie.nodes().size();) {
      const TokenTrie::Node& here = trie.nodes()[node];
      const size_t depth = here.depth;
      if (at + depth > text.size() || static_cast<uint8_t>(text[at + depth - 1]) != here.byte) {
        node = here.end;
        continue;
      }
      for (const int32_t token : trie.tokens_at(node)) longest = test_bit(mask, token) ? token : longest;
      ++node;
    }
    CHECK(longest >= 0 && matcher.advance(longest));
    at += trie.text(longest).size();
  }
  return times;
}

void report(const std::string& name, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  double sum = 0;
  for (const double time : times) sum += time;
  fmt::print("{:<34} {:>5} masks  median {:>7.1f}  mean {:>7.1f}  90 % {:>7.1f}  most {:>8.1f} us\n", name,
             times.size(), times[times.size() / 2], sum / static_cast<double>(times.size()),
             times[times.size() * 9 / 10], times.back());
}

}  // namespace

int main() {
  double begin = now_us();
  const std::shared_ptr<const TokenTrie> trie = synthetic_trie();
  fmt::print("vocabulary {}, {} nodes, made in {:.0f} ms\n", trie->vocabulary(), trie->nodes().size(),
             microseconds(begin) / 1000);
  const auto library = std::make_shared<MaskLibrary>(trie);
  std::string people = "[", pretty = "[\n";
  for (int i = 0; i < 30; ++i) {
    const std::string comma = i < 29 ? "," : "";
    people += fmt::format(
        R"({{"name":"person number {} of many","age":{},"tags":["one","second tag"],"email":"p{}@example.org"}}{})", i,
        20 + i, i, comma);
    pretty += fmt::format(
        "  {{\n    \"name\": \"person number {} of many\",\n    \"age\": {},\n    \"tags\": [\"one\", \"second "
        "tag\"],\n    \"email\": \"p{}@example.org\"\n  }}{}\n",
        i, 20 + i, i, comma);
  }
  people += "]";
  pretty += "]";
  const std::string person =
      R"({"type":"object","properties":{"name":{"type":"string"LENGTH},"age":{"type":"integer","minimum":0,"maximum":150},
      "tags":{"type":"array","items":{"type":"string"}},"email":{"type":"stringEMAIL"}},"required":["name","age","tags","email"],"additionalProperties":false})";
  const auto schema = [&](const std::string& length, const std::string& email) {
    std::string text = R"({"type":"array","items":)" + person + "}";
    text.replace(text.find("LENGTH"), 6, length);
    text.replace(text.find("EMAIL"), 5, email);
    return *parse_json(text, "schema");
  };
  struct Case {
    std::string name;
    Json schema;
    const std::string* text;
  };
  const std::vector<Case> cases{
      {"plain strings", schema("", ""), &people},
      {"plain strings, pretty-printed", schema("", ""), &pretty},
      {"any object or array", Json::object(), &people},
      {"name of at most 60 characters", schema(R"(,"minLength":1,"maxLength":60)", ""), &people},
      {"format email", schema("", R"(","format":"email)"), &people}};
  for (const Case& one : cases) {
    begin = now_us();
    const Result<GrammarPtr> grammar = compile_json_schema(one.schema, {});
    const double compiled = microseconds(begin);
    CHECK(grammar);
    report(one.name + ", first", masks_of(*grammar, library, *one.text));
    report(one.name + ", warm", masks_of(*grammar, library, *one.text));
    fmt::print("{:<34} {} rules, {} states in {:.0f} us\n", "  compiled", (*grammar)->rules().size(),
               (*grammar)->automaton().states(), compiled);
  }
  Json large = Json::object({{"type", "object"}, {"properties", Json::object()}});
  for (int i = 0; i < 200; ++i) large["properties"][fmt::format("property_{}", i)] = cases[0].schema;
  Json constants = Json::object({{"enum", Json::array()}});
  for (int i = 0; i < 10'000; ++i) constants["enum"].push_back(fmt::format("constant number {}", i));
  Json hostile = Json::object({{"type", "string"}, {"pattern", "(a|b)*a(a|b){25}"}});
  for (const auto& [name, json] : {std::pair<std::string, const Json*>("200 optional properties", &large),
                                   {"10,000 constants", &constants},
                                   {"exponential pattern", &hostile}}) {
    begin = now_us();
    const Result<GrammarPtr> grammar = compile_json_schema(*json, {});
    fmt::print("{:<34} {} in {:.0f} ms\n", name,
               grammar ? fmt::format("{} states", (*grammar)->automaton().states()) : "refused",
               microseconds(begin) / 1000);
  }
  return 0;
}
