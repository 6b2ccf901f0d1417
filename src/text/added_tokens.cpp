#include "text/added_tokens.h"

namespace lapidary {

void AddedTokens::add(std::string_view text, int32_t id, bool control) {
  int32_t node = -1;
  for (const char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    int32_t& child =
        node < 0 ? roots_[byte] : children_.try_emplace(static_cast<uint64_t>(node) << 8 | byte, -1).first->second;
    if (child < 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    node = child;
  }
  if (node >= 0) nodes_[static_cast<size_t>(node)] = {id, control};
}

AddedTokens::Match AddedTokens::find(std::string_view text, size_t from, bool with_control) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    Match longest;
    int32_t node = roots_[static_cast<uint8_t>(text[begin])];
    for (size_t end = begin + 1; node >= 0; ++end) {
      const Node& here = nodes_[static_cast<size_t>(node)];
      if (here.id >= 0 && (with_control || !here.control)) longest = {begin, end, here.id};
      if (end == text.size()) break;
      const auto child = children_.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(text[end]));
      node = child == children_.end() ? -1 : child->second;
    }
    if (longest.id >= 0) return longest;
  }
  return {text.size(), text.size(), -1};
}

}  // namespace lapidary
