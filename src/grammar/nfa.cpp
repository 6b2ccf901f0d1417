#include "grammar/nfa.h"

namespace lapidary {

void Nfa::literal_to(uint32_t from, std::string_view bytes, uint32_t to, uint8_t first_flags) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint32_t next = i + 1 == bytes.size() ? to : add();
    const int byte = static_cast<uint8_t>(bytes[i]);
    edge(from, byte, byte, next, i == 0 ? first_flags : uint8_t{0});
    from = next;
  }
}

uint32_t Nfa::literal(uint32_t from, std::string_view bytes) {
  if (bytes.empty()) return from;
  const uint32_t to = add();
  literal_to(from, bytes, to);
  return to;
}

}  // namespace lapidary
