// Bytes as a pattern.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "grammar/regex.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view pattern(reinterpret_cast<const char*>(data), size);
  for (const RegexMatch match : {RegexMatch::kWhole, RegexMatch::kAnywhere}) {
    CompileBudget budget;
    budget.work = 200'000;
    budget.states = 5'000;
    const Result<Dfa> dfa = compile_regex_dfa(pattern, match, Spelling::kJson, budget);
    if (!dfa) {
      CHECK(!dfa.error().message.empty());
      continue;
    }
    CHECK(dfa->states() > 0 && dfa->edge_begin.size() == dfa->states() + 1);
    CHECK(static_cast<bool>(check_regex(pattern)));
  }
  return 0;
}
