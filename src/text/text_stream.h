// Token ids to text as they arrive, never half a character.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace lapidary {

// What push() and flush() return, put together, is Tokenizer::decode() of the same ids, wherever the stream was cut.
// For that, a run of byte tokens is held until the next token that is none: whether it is text or a row of U+FFFD is
// known only at its end.
class TextStream {
 public:
  // Keeps a reference: the tokenizer outlives the stream.
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // Whole characters that this token completes; may be empty.
  std::string push(int32_t token);
  // What is still held, at the end of the text.
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  std::string byte_run_;
};

}  // namespace lapidary
