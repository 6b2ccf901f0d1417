// Bytes as a JSON Schema. What compiles must have a way to go on, and its forced text must be possible.
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "grammar/compile.h"
#include "grammar/matcher.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  static const auto library = std::make_shared<MaskLibrary>(std::make_shared<TokenTrie>(
      std::vector<std::string>{"", "\"", "{", "[", "\":", "a", "1", "-", "tru", "null", "\n "},
      std::vector<std::pair<std::string, int32_t>>{}, std::vector<int32_t>{0}));
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<Json> schema = parse_json_exact(text, "schema");
  if (!schema) return 0;
  for (const bool strict : {true, false}) {
    const Result<GrammarPtr> grammar = compile_json_schema(*schema, {.strict = strict, .compact = true});
    if (!grammar) {
      CHECK(!grammar.error().message.empty());
      continue;
    }
    GrammarMatcher matcher(*grammar, library);
    CHECK(matcher.can_end() || matcher.forced(1).size() <= 1);
    for (const ForcedPiece& piece : matcher.forced(64)) CHECK(matcher.advance_text(piece.bytes));
    std::vector<uint64_t> mask(library->trie().mask_words());
    matcher.mask(mask);
    for (int32_t token = 0; token < library->trie().vocabulary(); ++token) {
      CHECK(test_bit(mask, token) == matcher.allows(token));
    }
  }
  return 0;
}
