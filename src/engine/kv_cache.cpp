#include "engine/kv_cache.h"

#include <algorithm>

#include "base/check.h"

namespace lapidary {

KvPool::KvPool(int32_t pages) : held_(static_cast<size_t>(pages), false) {
  for (int32_t page = pages - 1; page >= 0; --page) free_.push_back(page);
}

int32_t KvPool::acquire() {
  CHECK(!free_.empty());
  const int32_t page = free_.back();
  free_.pop_back();
  CHECK(!held_[static_cast<size_t>(page)]);
  held_[static_cast<size_t>(page)] = true;
  return page;
}

void KvPool::release(int32_t page) {
  CHECK(page >= 0 && page < total() && held_[static_cast<size_t>(page)]);
  held_[static_cast<size_t>(page)] = false;
  free_.push_back(page);
}

int32_t pages_missing(const PageTable& table, int32_t end) {
  const int32_t needed = (end - table.first_position + kPagePositions - 1) / kPagePositions;
  return std::max(0, needed - static_cast<int32_t>(table.pages.size()));
}

void extend_table(PageTable& table, KvPool& pool, int32_t end) {
  for (int32_t missing = pages_missing(table, end); missing > 0; --missing) table.pages.push_back(pool.acquire());
}

void release_before(PageTable& table, KvPool& pool, int32_t position) {
  size_t count = 0;
  while (count < table.pages.size() && table.first_position + kPagePositions <= position) {
    pool.release(table.pages[count++]);
    table.first_position += kPagePositions;
  }
  table.pages.erase(table.pages.begin(), table.pages.begin() + static_cast<std::ptrdiff_t>(count));
}

void release_all(PageTable& table, KvPool& pool) {
  for (const int32_t page : table.pages) pool.release(page);
  table.pages.clear();
  table.first_position = 0;
}

int32_t global_pages(int32_t context) { return (context + kPagePositions - 1) / kPagePositions; }

int32_t sliding_pages(int32_t window, int32_t step_rows_max, int32_t context) {
  // A window before the step's first row (its query needs one position less, a drafter all of them), then the step,
  // drafts included; both ends may cut a page.
  const int64_t span = static_cast<int64_t>(window) + step_rows_max;
  return static_cast<int32_t>(std::min<int64_t>(global_pages(context), span / kPagePositions + 2));
}

}  // namespace lapidary
