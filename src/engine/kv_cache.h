// Sliding and global K/V pages as numbers. This file decides which page belongs to whom; it never sees the memory
// behind a page (ops does) and never decides who runs next.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ops/batch.h"

namespace lapidary {

// The pages of one group. Every page is either free or held by exactly one owner.
class KvPool {
 public:
  explicit KvPool(int32_t pages);

  int32_t total() const { return static_cast<int32_t>(held_.size()); }
  int32_t free() const { return static_cast<int32_t>(free_.size()); }

  int32_t acquire();  // a free page; there must be one
  void release(int32_t page);

 private:
  std::vector<int32_t> free_;  // a stack: the page used last is warmest
  std::vector<bool> held_;
};

// How many pages a table must still get to hold positions [.., end).
int32_t pages_missing(const PageTable& table, int32_t end);
// Makes room for positions [.., end); the pool must have pages_missing() free pages.
void extend_table(PageTable& table, KvPool& pool, int32_t end);
// Gives back the pages that lie wholly before `position`.
void release_before(PageTable& table, KvPool& pool, int32_t position);
void release_all(PageTable& table, KvPool& pool);

// Pages one sequence needs at most: global ones for `context` positions; sliding ones for the window before the largest
// step, and that step, wherever the boundaries of pages fall.
int32_t global_pages(int32_t context);
int32_t sliding_pages(int32_t window, int32_t step_rows_max, int32_t context);

}  // namespace lapidary
