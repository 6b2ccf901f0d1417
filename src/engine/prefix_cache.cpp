#include "engine/prefix_cache.h"

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"

namespace lapidary {
namespace {

constexpr AttentionKind kSliding = AttentionKind::kSliding, kGlobal = AttentionKind::kGlobal;
constexpr size_t at(AttentionKind kind) { return static_cast<size_t>(kind); }

int32_t& page_at(PageTable& table, int32_t position) {
  const int32_t index = (position - table.first_position) / kPagePositions;
  CHECK(position >= table.first_position && static_cast<size_t>(index) < table.pages.size());
  return table.pages[static_cast<size_t>(index)];
}

}  // namespace

PrefixCache::PrefixCache(KvPages& pages, std::array<int64_t, kAttentionKinds> page_bytes, int32_t window,
                         int64_t bytes_max)
    : pages_(&pages), page_bytes_(page_bytes), window_(window), bytes_max_(bytes_max) {
  for (const AttentionKind kind : {kSliding, kGlobal})
    node_of_[at(kind)].assign(static_cast<size_t>(pages.total(kind)), kNoNode);
}

size_t PrefixCache::KeyHash::operator()(const Key& key) const {
  uint64_t hash = hash_counter(key.salt, static_cast<uint64_t>(static_cast<int64_t>(key.parent)), 0);
  for (const PositionWord word : key.words) hash = mix64(hash ^ word) + 0x9e3779b97f4a7c15ull;
  return static_cast<size_t>(hash);
}

int32_t PrefixCache::child(int32_t parent, uint64_t salt, std::span<const PositionWord> words) const {
  Key key{parent, salt, {}};
  std::copy_n(words.begin(), kPagePositions, key.words.begin());
  const auto found = by_words_.find(key);
  return found == by_words_.end() ? kNoNode : found->second;
}

// Of `depth` pages, how many at the end the next position's window reaches into.
int32_t PrefixCache::window_pages(int32_t depth) const {
  return std::min(depth, (window_ - 1 + kPagePositions - 1) / kPagePositions);
}

PrefixCache::Prefix PrefixCache::find(uint64_t salt, std::span<const PositionWord> words, int32_t end,
                                      std::span<const Block> blocks) const {
  CHECK(end <= static_cast<int32_t>(words.size()));
  Prefix best;
  int32_t at_node = kNoNode, sliding_run = 0;
  for (int32_t position = kPagePositions; position <= end; position += kPagePositions) {
    at_node = child(at_node, salt, words.subspan(static_cast<size_t>(position - kPagePositions)));
    if (at_node == kNoNode) break;
    sliding_run = node(at_node).pages[at(kSliding)] == kNoPage ? 0 : sliding_run + 1;
    if (sliding_run < window_pages(position / kPagePositions)) continue;
    if (std::any_of(blocks.begin(), blocks.end(), [&](Block b) { return b.begin < position && position < b.end; }))
      continue;
    best = {position, at_node};
  }
  return best;
}

void PrefixCache::resume(const Prefix& prefix, std::array<PageTable, kAttentionKinds>& tables) {
  for (const PageTable& table : tables) CHECK(table.pages.empty() && table.first_position == 0);
  if (prefix.node == kNoNode) return;
  const int32_t depth = node(prefix.node).depth;
  CHECK(depth * kPagePositions == prefix.positions);
  for (const AttentionKind kind : {kSliding, kGlobal}) {
    PageTable& table = tables[at(kind)];
    const int32_t count = kind == kSliding ? window_pages(depth) : depth;
    table.first_position = (depth - count) * kPagePositions;
    table.pages.resize(static_cast<size_t>(count));
    int32_t at_node = prefix.node;
    for (auto page = table.pages.rbegin(); page != table.pages.rend(); ++page, at_node = node(at_node).key.parent) {
      *page = node(at_node).pages[at(kind)];
      pages_->retain(kind, *page);
    }
  }
}

void PrefixCache::hold(int32_t index, AttentionKind kind, int32_t page) {
  pages_->cache(kind, page);
  node(index).pages[at(kind)] = page;
  node_of_[at(kind)][static_cast<size_t>(page)] = index;
  if (kind == kSliding && node(index).kept) pages_->keep(kind, page);
}

int32_t PrefixCache::insert(int32_t parent, uint64_t salt, std::span<const PositionWord> words, int32_t begin,
                            std::array<PageTable, kAttentionKinds>& tables) {
  CHECK(words.size() == kPagePositions);
  if (bytes_max_ == 0) return kNoNode;
  int32_t index = child(parent, salt, words);
  if (index != kNoNode) {
    for (const AttentionKind kind : {kSliding, kGlobal}) {
      int32_t& own = page_at(tables[at(kind)], begin);
      const int32_t known = node(index).pages[at(kind)];
      if (known == own) continue;
      if (known == kNoPage) {
        hold(index, kind, own);
        continue;
      }
      pages_->retain(kind, known);
      pages_->release(kind, own);
      own = known;
    }
    return index;
  }
  if (unused_.empty()) {
    unused_.push_back(static_cast<int32_t>(nodes_.size()));
    nodes_.emplace_back();
  }
  index = unused_.back();
  unused_.pop_back();
  Node& added = node(index);
  added = {};
  added.key.parent = parent;
  added.key.salt = salt;
  std::copy_n(words.begin(), kPagePositions, added.key.words.begin());
  added.depth = begin / kPagePositions + 1;
  CHECK(added.depth == (parent == kNoNode ? 1 : node(parent).depth + 1));
  by_words_.emplace(added.key, index);
  for (const AttentionKind kind : {kSliding, kGlobal}) hold(index, kind, page_at(tables[at(kind)], begin));
  // Where two sequences part, a third may come by.
  if (parent != kNoNode && ++node(parent).children == 2) keep_window(parent);
  return index;
}

void PrefixCache::keep_window(int32_t index) {
  if (index == kNoNode) return;
  for (int32_t count = window_pages(node(index).depth); count > 0; --count, index = node(index).key.parent) {
    node(index).kept = true;
    const int32_t page = node(index).pages[at(kSliding)];
    if (page != kNoPage) pages_->keep(kSliding, page);
  }
}

int32_t PrefixCache::ancestor(int32_t index, int32_t pages) const {
  for (; pages > 0 && index != kNoNode; --pages) index = node(index).key.parent;
  return index;
}

void PrefixCache::give_away(AttentionKind kind, int32_t page) {
  int32_t& owner = node_of_[at(kind)][static_cast<size_t>(page)];
  const int32_t index = owner;
  CHECK(index != kNoNode && node(index).pages[at(kind)] == page);
  pages_->uncache(kind, page);
  owner = kNoNode;
  node(index).pages[at(kind)] = kNoPage;
  if (kind == kSliding) return;
  // Without its global page the node is nothing. Whoever holds a child holds the parents, and lets go of the child
  // first: the longest idle page is a leaf's.
  CHECK(node(index).children == 0);
  const int32_t sliding = node(index).pages[at(kSliding)];
  if (sliding != kNoPage) give_away(kSliding, sliding);
  const int32_t parent = node(index).key.parent;
  if (parent != kNoNode) --node(parent).children;
  CHECK(by_words_.erase(node(index).key) == 1);
  unused_.push_back(index);
}

void PrefixCache::make_room(AttentionKind kind, int32_t wanted) {
  while (pages_->free(kind) < wanted) {
    const auto idle = pages_->next_idle(kind);
    if (!idle) return;
    give_away(kind, idle->page);
  }
}

int64_t PrefixCache::idle_bytes() const {
  int64_t bytes = 0;
  for (const AttentionKind kind : {kSliding, kGlobal}) bytes += pages_->idle(kind) * page_bytes_[at(kind)];
  return bytes;
}

void PrefixCache::trim() {
  while (idle_bytes() > bytes_max_) {
    const auto sliding = pages_->next_idle(kSliding), global = pages_->next_idle(kGlobal);
    // First what nobody is expected to go on from; then whatever is idle longest.
    const bool take_sliding = sliding && (!sliding->kept || !global || sliding->since < global->since);
    take_sliding ? give_away(kSliding, sliding->page) : give_away(kGlobal, global->page);
  }
}

}  // namespace lapidary
