// Grammars for scripts: one JSON object a line on stdin, one a line on stdout.
//   {"schema": {...}, "strict": true, "compact": false}, {"regex": "..."}, {"tools": [...], "names": [...], "parallel":
//   true}
//       compiles: {"ok": true} or {"error": "..."}
//   {"check": ["text", ...]}    {"accepted": [true, ...]}: whether each text is a whole answer
//   {"sample": n, "seed": s, "end": p}
//       {"texts": [...]}: n answers by random walks over allowed tokens, every mask compared with the slow truth; the
//       walk ends with probability p where it may, and is cut after two hundred tokens (then the text is null)
// Usage: grammar_tool TOKENIZER_DIRECTORY
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "base/rng.h"
#include "grammar/compile.h"
#include "grammar/matcher.h"
#include "text/tokenizer.h"

namespace {

using namespace lapidary;

constexpr int kTokensMax = 200;

struct Walker {
  const Tokenizer& tokenizer;
  std::shared_ptr<const TokenTrie> trie;
  std::shared_ptr<MaskLibrary> library;
  GrammarPtr grammar;

  // Every 97th token, and every 31st step all of them: the mask against reading the token's bytes.
  void compare(GrammarMatcher& matcher, const std::vector<uint64_t>& mask, uint64_t step) const {
    for (int32_t token = static_cast<int32_t>(step % 97); token < trie->vocabulary();
         token += step % 31 == 0 ? 1 : 97) {
      CHECK(test_bit(mask, token) == matcher.allows(token));
    }
  }

  Json sample(uint64_t seed, double end) const {
    GrammarMatcher matcher(grammar, library);
    std::vector<uint64_t> mask(trie->mask_words());
    std::string text;
    for (uint64_t step = 0; step < kTokensMax; ++step) {
      const int64_t allowed = matcher.mask(mask);
      CHECK(allowed > 0);  // no dead ends
      compare(matcher, mask, step);
      if (matcher.must_end() || (matcher.can_end() && uniform_open(seed, step, 1) < end)) return text;
      // At random; after a while towards the end.
      std::vector<int32_t> candidates;
      for (int32_t token = 0; token < trie->vocabulary(); ++token) {
        if (test_bit(mask, token) && !trie->is_end(token)) candidates.push_back(token);
      }
      if (candidates.empty()) return text;
      int32_t token = candidates[hash_counter(seed, step, 2) % candidates.size()];
      if (step > 20) {
        for (const std::string_view closing : {"\"", "]", "}", "<|\"|>", "<tool_call|>"}) {
          for (const int32_t candidate : candidates) {
            if (tokenizer.piece(candidate).starts_with(closing)) token = candidate;
          }
        }
      }
      text += tokenizer.is_special(token) ? std::string(tokenizer.piece(token)) : std::string(trie->text(token));
      CHECK(matcher.advance(token));
    }
    return nullptr;
  }

  bool accepts(const std::string& text) const {
    GrammarMatcher matcher(grammar, library);
    // Control tokens by their spelling, as the model writes calls.
    size_t at = 0;
    while (at < text.size()) {
      size_t next = text.size();
      int32_t marker = -1;
      for (const char* spelling : {"<|tool_call>", "<tool_call|>", "<|\"|>"}) {
        const size_t found = text.find(spelling, at);
        if (found < next) next = found, marker = trie->marker(spelling);
      }
      if (!matcher.advance_text(std::string_view(text).substr(at, next - at))) return false;
      if (marker < 0) break;
      if (!matcher.advance(marker)) return false;
      at = next + tokenizer.piece(marker).size();
    }
    return matcher.can_end();
  }

  Json answer(const Json& request) {
    const auto flag = [&](const char* key, bool fallback) { return request.value(key, fallback); };
    Result<GrammarPtr> made = Error{};
    if (request.contains("schema")) {
      made =
          compile_json_schema(request["schema"], {.strict = flag("strict", true), .compact = flag("compact", false)});
    } else if (request.contains("regex")) {
      made = compile_regex(request["regex"].get<std::string>());
    } else if (request.contains("tools")) {
      ToolCallOptions options;
      if (request.contains("names")) options.names = request["names"].get<std::vector<std::string>>();
      options.parallel = flag("parallel", true);
      made = compile_tool_calls(request["tools"], options);
    } else if (request.contains("check")) {
      Json accepted = Json::array();
      for (const Json& text : request["check"]) accepted.push_back(accepts(text.get<std::string>()));
      return {{"accepted", accepted}};
    } else {
      Json texts = Json::array();
      const auto seed = request["seed"].get<uint64_t>();
      for (uint64_t i = 0; i < request["sample"].get<uint64_t>(); ++i) {
        texts.push_back(sample(seed * 1000 + i, request.value("end", 0.5)));
      }
      return {{"texts", texts}};
    }
    if (!made) return {{"error", made.error().message}};
    grammar = *made;
    return {{"ok", true}};
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s TOKENIZER_DIRECTORY\n", argv[0]);
    return 2;
  }
  const Result<Tokenizer> tokenizer = Tokenizer::open(argv[1]);
  if (!tokenizer) {
    std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str());
    return 1;
  }
  std::vector<int32_t> ends;
  for (const char* piece : {"<turn|>", "<eos>"}) {
    if (const std::optional<int32_t> id = tokenizer->id_of(piece)) ends.push_back(*id);
  }
  Walker walker{*tokenizer, std::make_shared<TokenTrie>(*tokenizer, ends), nullptr, nullptr};
  walker.library = std::make_shared<MaskLibrary>(walker.trie);
  std::string line;
  while (std::getline(std::cin, line)) {
    const Result<Json> request = parse_json_exact(line, "request");
    const Json reply = request ? walker.answer(*request) : Json({{"error", request.error().message}});
    std::printf("%s\n", dump_json(reply).c_str());
    std::fflush(stdout);
  }
  return 0;
}
