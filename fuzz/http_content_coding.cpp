// The first line is a Content-Encoding, the rest a body in it.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "http/content_coding.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(input.find('\n'), size);
  const std::string_view body = input.substr(std::min(line + 1, size));
  const ContentLimits limits{.bytes_max = 2 << 20, .ratio_free_bytes = 64 << 10};
  const Result<std::string> decoded = decode_content(input.substr(0, line), body, limits);
  if (decoded) {
    const int64_t bytes = static_cast<int64_t>(decoded->size()), sent = static_cast<int64_t>(body.size());
    CHECK(bytes <= std::max({limits.ratio_free_bytes, sent * limits.ratio_max}) || bytes == sent);
  } else {
    CHECK(!decoded.error().message.empty());
  }
  return 0;
}
