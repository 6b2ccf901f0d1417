// Values -> compact JSON text: for files and terminals, and for the wire.
#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/json.h"
#include "base/utf8.h"

namespace lapidary {
namespace {

enum class Escapes : uint8_t { kJson, kWire };

// What a byte of a string needs: nothing, an escape, or a look at the whole character.
enum class ByteKind : uint8_t { kPlain, kEscape, kCharacter };
constexpr std::array<ByteKind, 256> byte_kinds() {
  std::array<ByteKind, 256> kinds{};
  for (size_t c = 0; c < kinds.size(); ++c) {
    kinds[c] = c < 0x20 || c == '"' || c == '\\' ? ByteKind::kEscape
               : c < 0x80                        ? ByteKind::kPlain
                                                 : ByteKind::kCharacter;
  }
  return kinds;
}
constexpr std::array<ByteKind, 256> kByteKinds = byte_kinds();

void append_escape(std::string& out, unsigned code) {
  switch (code) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", code);
  }
}

// Readers that split at Unicode's line ends would cut a document in two there.
bool ends_line(char32_t code) { return code == 0x85 || code == 0x2028 || code == 0x2029; }

void append_characters(std::string& out, std::string_view text, Escapes escapes) {
  size_t plain = 0;  // from here on nothing was written yet, and nothing needs a change
  for (size_t at = 0; at < text.size();) {
    const ByteKind kind = kByteKinds[static_cast<uint8_t>(text[at])];
    if (kind == ByteKind::kPlain) {
      ++at;
      continue;
    }
    Utf8Scalar scalar{static_cast<uint8_t>(text[at]), 1, true};
    if (kind == ByteKind::kCharacter) {
      scalar = utf8_scalar(text, at);
      if (scalar.valid && !(escapes == Escapes::kWire && ends_line(scalar.code))) {
        at += static_cast<size_t>(scalar.bytes);
        continue;
      }
    }
    out += text.substr(plain, at - plain);
    if (scalar.valid) {
      append_escape(out, static_cast<unsigned>(scalar.code));
    } else {
      out += "\xef\xbf\xbd";  // U+FFFD
    }
    at += static_cast<size_t>(scalar.bytes);
    plain = at;
  }
  out += text.substr(plain);
}

void append_string(std::string& out, std::string_view text, Escapes escapes) {
  out += '"';
  append_characters(out, text, escapes);
  out += '"';
}

template <class Integer>
void append_integer(std::string& out, Integer value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

void append_value(std::string& out, const Json& value, Escapes escapes) {
  switch (value.type()) {
    case Json::value_t::object: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) {
        if (!first) out += ',';
        first = false;
        append_string(out, key, escapes);
        out += ':';
        append_value(out, item, escapes);
      }
      out += '}';
      return;
    }
    case Json::value_t::array: {
      out += '[';
      bool first = true;
      for (const Json& item : value.get_ref<const Json::array_t&>()) {
        if (!first) out += ',';
        first = false;
        append_value(out, item, escapes);
      }
      out += ']';
      return;
    }
    case Json::value_t::string:
      return append_string(out, value.get_ref<const std::string&>(), escapes);
    case Json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      return;
    case Json::value_t::number_integer:
      return append_integer(out, value.get<int64_t>());
    case Json::value_t::number_unsigned:
      return append_integer(out, value.get<uint64_t>());
    case Json::value_t::number_float:
      out += value.dump();  // shortest digits that read back; null when it is not finite
      return;
    case Json::value_t::binary:
      out += exact_integer(value);
      return;
    case Json::value_t::null:
    case Json::value_t::discarded:
      out += "null";
      return;
  }
}

std::string dump(const Json& value, Escapes escapes) {
  std::string out;
  append_value(out, value, escapes);
  return out;
}

}  // namespace

std::string dump_json(const Json& value) { return dump(value, Escapes::kJson); }

std::string dump_wire_json(const Json& value) { return dump(value, Escapes::kWire); }

void append_wire_characters(std::string& out, std::string_view text) { append_characters(out, text, Escapes::kWire); }

}  // namespace lapidary
