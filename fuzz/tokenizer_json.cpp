// Bytes as tokenizer.json. When they are a tokenizer, text must survive it: the bytes themselves, encoded and decoded.
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "text/text_stream.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<Tokenizer> tokenizer = Tokenizer::parse(text, "fuzz");
  if (!tokenizer) {
    CHECK(!tokenizer.error().message.empty());
    return 0;
  }
  for (const SpecialTokens special : {SpecialTokens::kAsText, SpecialTokens::kRecognise}) {
    const std::vector<int32_t> ids = tokenizer->encode(text, special);
    for (const int32_t id : ids) {
      CHECK(id >= 0 && id < tokenizer->vocabulary_size());
      CHECK(special == SpecialTokens::kRecognise || !tokenizer->is_special(id));
    }
    CHECK(utf8_valid(tokenizer->decode(ids)));
  }
  return 0;
}
