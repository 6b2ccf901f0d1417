// Prefixes that were computed before, by what stands at each position. A tree of pages: a node is one page of positions
// after those of its parent, so a conversation is known by its beginning, and requests that begin alike share the pages
// of what they have in common. Pages as numbers only.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/prompt_pieces.h"

namespace lapidary {

// What stands at a position, as far as K and V depend on it: a token's id, or which part of which picture or sound.
using PositionWord = uint64_t;

class PrefixCache {
 public:
  static constexpr int32_t kNoNode = -1;

  // page_bytes: of a page of each group; window: of sliding layers; bytes_max: for pages that no sequence holds, 0:
  // nothing is cached. The pages outlive the cache.
  PrefixCache(KvPages& pages, std::array<int64_t, kAttentionKinds> page_bytes, int32_t window, int64_t bytes_max);

  struct Prefix {
    int32_t positions = 0;  // a whole number of pages
    int32_t node = kNoNode;
  };
  // The longest prefix of at most `end` positions to go on from: every global page is here, and the sliding pages of
  // the window before its end; it ends in no block. Sequences with another salt are strangers.
  Prefix find(uint64_t salt, std::span<const PositionWord> words, int32_t end, std::span<const Block> blocks) const;
  // Gives empty tables the pages of a prefix found.
  void resume(const Prefix& prefix, std::array<PageTable, kAttentionKinds>& tables);

  // A page of `tables` that is full and certain becomes the child of `parent` (kNoNode: of the root) that holds `words`
  // [kPagePositions], the page that begins at position `begin`. Where another sequence has computed the same page
  // before, that page takes its place in the tables: its bits are the same. Returns the node, for the next page;
  // kNoNode when nothing is cached.
  int32_t insert(int32_t parent, uint64_t salt, std::span<const PositionWord> words, int32_t begin,
                 std::array<PageTable, kAttentionKinds>& tables);
  // The node's end is where a later request is likely to go on: what is held of its window of sliding pages is kept
  // longest, as if it had just been used.
  void keep_window(int32_t node);
  // The node `pages` before this one.
  int32_t ancestor(int32_t node, int32_t pages) const;

  // Gives idle pages away until `wanted` are free, or none is idle.
  void make_room(AttentionKind kind, int32_t wanted);
  // Gives idle pages away until they take no more than bytes_max.
  void trim();

  int64_t idle_bytes() const;
  int64_t bytes_max() const { return bytes_max_; }
  int32_t nodes() const { return static_cast<int32_t>(by_words_.size()); }

 private:
  struct Key {
    int32_t parent = kNoNode;
    uint64_t salt = 0;
    std::array<PositionWord, kPagePositions> words{};
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  struct Node {
    Key key;
    int32_t children = 0;
    int32_t depth = 0;                                // pages from the root, this one included
    std::array<int32_t, kAttentionKinds> pages = {};  // kNoPage: given away; never the global one
    bool kept = false;
  };
  static constexpr int32_t kNoPage = -1;

  int32_t child(int32_t parent, uint64_t salt, std::span<const PositionWord> words) const;
  const Node& node(int32_t index) const { return nodes_[static_cast<size_t>(index)]; }
  Node& node(int32_t index) { return nodes_[static_cast<size_t>(index)]; }
  int32_t window_pages(int32_t depth) const;
  void hold(int32_t index, AttentionKind kind, int32_t page);
  void give_away(AttentionKind kind, int32_t page);

  KvPages* pages_;
  std::array<int64_t, kAttentionKinds> page_bytes_;
  int32_t window_;
  int64_t bytes_max_;
  std::vector<Node> nodes_;
  std::vector<int32_t> unused_;                                // indices into nodes_
  std::unordered_map<Key, int32_t, KeyHash> by_words_;         // compares the words themselves: no false friends
  std::array<std::vector<int32_t>, kAttentionKinds> node_of_;  // by page
};

}  // namespace lapidary
