// Bytes as what a request may name a picture by: a data: URL, or bare base64.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/base64.h"
#include "base/check.h"
#include "media/sniff.h"
#include "server/data_url.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  constexpr int64_t kBytesMax = 200;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const Result<std::string>& bytes :
       {server::decode_data_url(text, kBytesMax), server::decode_bare_base64(text, kBytesMax)}) {
    if (bytes) {
      CHECK(std::ssize(*bytes) <= kBytesMax);
    } else {
      CHECK(!bytes.error().message.empty());
    }
  }
  std::string decoded;
  if (decode_base64(text, decoded)) CHECK(decoded.size() <= size / 4 * 3 + 2);
  CHECK(server::percent_decoded(text).size() <= size);
  sniff_media(text);
  return 0;
}
