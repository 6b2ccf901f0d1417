// Sliding and global K/V pages as numbers. This file decides which page belongs to whom; it never sees the memory
// behind a page (ops does) and never decides who runs next (the scheduler does).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "ops/batch.h"

namespace lapidary {

// Every page of a group is free, or held: by any number of sequences, by the prefix cache, or by both. Pages that only
// the prefix cache holds are idle: whoever needs room may have them, the longest idle first.
class KvPages {
 public:
  explicit KvPages(std::array<int32_t, kAttentionKinds> totals);

  int32_t total(AttentionKind kind) const { return static_cast<int32_t>(group(kind).pages.size()); }
  int32_t free(AttentionKind kind) const { return static_cast<int32_t>(group(kind).free.size()); }
  int32_t idle(AttentionKind kind) const { return static_cast<int32_t>(group(kind).idle.size()); }

  // For sequences.
  int32_t acquire(AttentionKind kind);  // a free page, now held by one sequence; there must be one
  void retain(AttentionKind kind, int32_t page);
  void release(AttentionKind kind, int32_t page);

  // For the prefix cache. A page is cached while a sequence holds it.
  void cache(AttentionKind kind, int32_t page);
  void uncache(AttentionKind kind, int32_t page);
  // A cached page: idle ones of this sort are given away last, and of them this one, as if it had just been released.
  void keep(AttentionKind kind, int32_t page);
  struct Idle {
    bool kept = false;
    uint64_t since = 0;  // counts releases
    int32_t page = 0;
    // clang-tidy 14 takes the 0 in it for a pointer.
    auto operator<=>(const Idle&) const = default;  // NOLINT(modernize-use-nullptr)
  };
  std::optional<Idle> next_idle(AttentionKind kind) const;  // the one to give away first

  // Makes room for positions [.., end); there must be pages_missing() free pages.
  void extend(AttentionKind kind, PageTable& table, int32_t end);
  // Gives back the pages that lie wholly before `position`.
  void release_before(AttentionKind kind, PageTable& table, int32_t position);
  // Gives back everything, later positions first: of a prefix, the end is idle longer than the beginning.
  void release_all(AttentionKind kind, PageTable& table);

 private:
  struct Page {
    int32_t sequences = 0;
    bool cached = false, kept = false;
    uint64_t idle_since = 0;
  };
  struct Group {
    std::vector<Page> pages;
    std::vector<int32_t> free;  // a stack: the page used last is warmest
    std::set<Idle> idle;
  };
  const Group& group(AttentionKind kind) const { return groups_[static_cast<size_t>(kind)]; }
  Group& group(AttentionKind kind) { return groups_[static_cast<size_t>(kind)]; }
  static Page& page_of(Group& group, int32_t page);

  std::array<Group, kAttentionKinds> groups_;
  uint64_t releases_ = 0;
};

// How many pages a table must still get to hold positions [.., end).
int32_t pages_missing(const PageTable& table, int32_t end);

// Pages that sequences need at most: global ones for `context` positions; sliding ones for `sequences` windows and the
// rows of the largest step, whoever they belong to and wherever the boundaries of pages fall.
int32_t global_pages(int32_t context);
int32_t sliding_pages(int32_t window, int32_t step_rows_max, int32_t context, int32_t sequences = 1);

}  // namespace lapidary
