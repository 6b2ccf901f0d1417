#include "engine/kv_cache.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"

namespace lapidary {
namespace {

TEST(KvCache, SlidingTablesKeepTheWindowAndGiveBackTheRest) {
  constexpr int32_t kWindow = 70, kStep = 45;
  const int32_t total = sliding_pages(kWindow, kStep, 1 << 20);
  KvPool pool(total);
  PageTable table;
  int32_t length = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const int32_t rows = 1 + static_cast<int32_t>(hash_counter(1, i, 0) % kStep);
    ASSERT_LE(pages_missing(table, length + rows), pool.free())
        << "step " << i;  // the plan's bound holds wherever pages are cut
    extend_table(table, pool, length + rows);
    // The step's first row looks back a window; its last row must have a page.
    ASSERT_LE(table.first_position, std::max(0, length - kWindow + 1));
    ASSERT_GE(table.first_position + static_cast<int32_t>(table.pages.size()) * kPagePositions, length + rows);
    const std::set<int32_t> distinct(table.pages.begin(), table.pages.end());
    ASSERT_EQ(distinct.size(), table.pages.size());
    ASSERT_EQ(pool.free() + static_cast<int32_t>(table.pages.size()), total);
    length += rows;
    release_before(table, pool, length - kWindow + 1);
  }
  release_all(table, pool);
  EXPECT_EQ(pool.free(), total);
}

TEST(KvCacheDeathTest, AReleasedPageIsNobodys) {
  KvPool pool(2);
  const int32_t page = pool.acquire();
  pool.release(page);
  EXPECT_DEATH(pool.release(page), "held_");
}

}  // namespace
}  // namespace lapidary
