#include "text/text_stream.h"

#include "base/utf8.h"

namespace lapidary {

std::string TextStream::push(int32_t token) {
  if (const std::optional<uint8_t> byte = tokenizer_->byte_of(token)) {
    byte_run_ += static_cast<char>(*byte);
    return {};
  }
  if (tokenizer_->piece(token).empty()) return {};  // an unknown id: the reference drops it before it decodes
  return flush() + tokenizer_->bytes_of(token);
}

std::string TextStream::flush() {
  std::string out;
  if (utf8_valid(byte_run_)) {
    out = std::move(byte_run_);
  } else {
    for (size_t i = 0; i < byte_run_.size(); ++i) utf8_append(out, 0xfffd);
  }
  byte_run_.clear();
  return out;
}

}  // namespace lapidary
