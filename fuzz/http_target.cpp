// Bytes as a request's target.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "http/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto target = parse_target(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!target) {
    CHECK(!target.error().message.empty());
    return 0;
  }
  for (size_t i = 0; i <= target->segments.size(); ++i) CHECK(utf8_valid(target->rest(i)));
  for (const auto& [name, value] : target->query) CHECK(utf8_valid(name) && utf8_valid(value));
  return 0;
}
