// The vocabulary as a tree of bytes, and what grammars need to know about its tokens. Built once for a tokenizer,
// immutable afterwards.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace lapidary {

class TokenTrie {
 public:
  // Node 0 is the root; nodes stand in preorder, so the subtree of a node is [node, end).
  struct Node {
    uint32_t end;
    uint32_t first_token;  // tokens that end here: node_tokens() from here to the next node's
    uint16_t depth;        // bytes from the root
    uint8_t byte;
  };

  // Control tokens have no text in the tree. end_tokens: which ids may end an answer.
  TokenTrie(const Tokenizer& tokenizer, std::vector<int32_t> end_tokens);
  // The same from plain data, for tests and benchmarks: texts[id], empty for control tokens; markers by spelling.
  TokenTrie(const std::vector<std::string>& texts, std::vector<std::pair<std::string, int32_t>> markers,
            std::vector<int32_t> end_tokens);

  int32_t vocabulary() const { return static_cast<int32_t>(text_begin_.size()) - 1; }
  size_t mask_words() const { return (static_cast<size_t>(vocabulary()) + 63) / 64; }
  const std::vector<Node>& nodes() const { return nodes_; }
  std::span<const int32_t> tokens_at(uint32_t node) const {
    const uint32_t end =
        node + 1 < nodes_.size() ? nodes_[node + 1].first_token : static_cast<uint32_t>(tokens_.size());
    return {tokens_.data() + nodes_[node].first_token, tokens_.data() + end};
  }
  int32_t depth() const { return depth_; }
  // Empty for control tokens and unknown ids.
  std::string_view text(int32_t token) const;
  // -1 when the vocabulary has no such control token.
  int32_t marker(std::string_view spelling) const;
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }
  bool is_end(int32_t token) const;

 private:
  void build();

  std::string bytes_;
  std::vector<uint32_t> text_begin_;  // [vocabulary + 1]
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  std::vector<std::pair<std::string, int32_t>> markers_;
  std::vector<int32_t> end_tokens_;
  int32_t depth_ = 0;
};

inline void set_bit(std::span<uint64_t> mask, int32_t token) {
  mask[static_cast<size_t>(token) / 64] |= 1ull << (static_cast<uint32_t>(token) % 64);
}
inline bool test_bit(std::span<const uint64_t> mask, int32_t token) {
  return (mask[static_cast<size_t>(token) / 64] >> (static_cast<uint32_t>(token) % 64) & 1) != 0;
}

}  // namespace lapidary
