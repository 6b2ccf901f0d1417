#include "grammar/token_trie.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace lapidary {
namespace {

constexpr size_t kTokenBytesMax = 1024;  // longer ones (there are none) are never allowed; bounds the tree's depth

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer, std::vector<int32_t> end_tokens) : end_tokens_(std::move(end_tokens)) {
  text_begin_.push_back(0);
  for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    if (tokenizer.is_special(id)) {
      markers_.emplace_back(tokenizer.piece(id), id);
    } else {
      const std::string text = tokenizer.bytes_of(id);
      if (text.size() <= kTokenBytesMax) bytes_ += text;
    }
    text_begin_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  build();
}

TokenTrie::TokenTrie(const std::vector<std::string>& texts, std::vector<std::pair<std::string, int32_t>> markers,
                     std::vector<int32_t> end_tokens)
    : markers_(std::move(markers)), end_tokens_(std::move(end_tokens)) {
  text_begin_.push_back(0);
  for (const std::string& text : texts) {
    if (text.size() <= kTokenBytesMax) bytes_ += text;
    text_begin_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  build();
}

void TokenTrie::build() {
  std::sort(markers_.begin(), markers_.end());
  std::erase_if(end_tokens_, [&](int32_t token) { return token < 0 || token >= vocabulary(); });
  std::vector<int32_t> order(static_cast<size_t>(vocabulary()));
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](int32_t token) { return text(token).empty(); });
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const int by_text = text(a).compare(text(b));
    return by_text != 0 ? by_text < 0 : a < b;
  });
  // Sorted texts come in preorder: each one shares a path with the one before it and adds the rest.
  std::vector<uint32_t> path{0};
  nodes_.push_back({0, 0, 0, 0});
  std::string_view before;
  for (const int32_t token : order) {
    const std::string_view now = text(token);
    size_t shared = 0;
    while (shared < before.size() && shared < now.size() && before[shared] == now[shared]) ++shared;
    while (path.size() > shared + 1) {
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
      path.pop_back();
    }
    for (size_t i = shared; i < now.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back(
          {0, static_cast<uint32_t>(tokens_.size()), static_cast<uint16_t>(i + 1), static_cast<uint8_t>(now[i])});
    }
    tokens_.push_back(token);
    depth_ = std::max(depth_, static_cast<int32_t>(now.size()));
    before = now;
  }
  for (const uint32_t node : path) nodes_[node].end = static_cast<uint32_t>(nodes_.size());
}

std::string_view TokenTrie::text(int32_t token) const {
  if (token < 0 || token >= vocabulary()) return {};
  const uint32_t begin = text_begin_[static_cast<size_t>(token)], end = text_begin_[static_cast<size_t>(token) + 1];
  return std::string_view(bytes_).substr(begin, end - begin);
}

int32_t TokenTrie::marker(std::string_view spelling) const {
  const auto it = std::lower_bound(markers_.begin(), markers_.end(), spelling,
                                   [](const auto& marker, std::string_view wanted) { return marker.first < wanted; });
  return it != markers_.end() && it->first == spelling ? it->second : -1;
}

bool TokenTrie::is_end(int32_t token) const {
  return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
}

}  // namespace lapidary
