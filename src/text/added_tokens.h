// Strings that are one token wherever they stand, found before any merge: the longest match at the leftmost place.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lapidary {

class AddedTokens {
 public:
  AddedTokens() { roots_.fill(-1); }

  void add(std::string_view text, int32_t id, bool control);
  bool empty() const { return nodes_.empty(); }

  struct Match {
    size_t begin = 0, end = 0;  // bytes of the searched text; begin == end: none left
    int32_t id = -1;
  };
  // The first match that begins at or after from; control tokens count only when with_control.
  Match find(std::string_view text, size_t from, bool with_control) const;

 private:
  struct Node {
    int32_t id = -1;
    bool control = false;
  };

  std::array<int32_t, 256> roots_;  // node of each first byte, -1: none
  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, int32_t> children_;  // node << 8 | byte -> node
};

}  // namespace lapidary
