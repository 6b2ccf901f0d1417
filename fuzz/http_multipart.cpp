// The first line is a Content-Type, the rest a body of it.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "http/field_parameters.h"
#include "http/multipart.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(input.find('\n'), size);
  const std::string_view body = input.substr(std::min(line + 1, size));
  const auto parts = parse_multipart(input.substr(0, line), body);
  if (!parts) {
    CHECK(!parts.error().message.empty() && utf8_valid(parts.error().message));
  } else {
    const char* after = body.data();
    for (const MultipartPart& part : *parts) {
      CHECK(utf8_valid(part.name) && (!part.filename || utf8_valid(*part.filename)));
      if (part.body.empty()) continue;
      CHECK(part.body.data() >= after && part.body.data() + part.body.size() <= body.data() + body.size());
      after = part.body.data() + part.body.size();
    }
  }
  if (const auto field = parse_field_value(body)) {
    for (const auto& [name, value] : field->parameters) CHECK(!name.empty());
  }
  if (const auto text = decode_extended_value(body)) CHECK(utf8_valid(*text));
  return 0;
}
