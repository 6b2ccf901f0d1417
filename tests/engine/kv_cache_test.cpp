#include "engine/kv_cache.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"

namespace lapidary {
namespace {

constexpr AttentionKind kSliding = AttentionKind::kSliding, kGlobal = AttentionKind::kGlobal;

TEST(KvCache, SlidingTablesKeepTheWindowAndGiveBackTheRest) {
  constexpr int32_t kWindow = 70, kStep = 45;
  const int32_t total = sliding_pages(kWindow, kStep, 1 << 20);
  KvPages pages({total, 0});
  PageTable table;
  int32_t length = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const int32_t rows = 1 + static_cast<int32_t>(hash_counter(1, i, 0) % kStep);
    ASSERT_LE(pages_missing(table, length + rows), pages.free(kSliding))
        << "step " << i;  // the plan's bound holds wherever pages are cut
    pages.extend(kSliding, table, length + rows);
    // The step's first row looks back a window; its last row must have a page.
    ASSERT_LE(table.first_position, std::max(0, length - kWindow + 1));
    ASSERT_GE(table.first_position + static_cast<int32_t>(table.pages.size()) * kPagePositions, length + rows);
    const std::set<int32_t> distinct(table.pages.begin(), table.pages.end());
    ASSERT_EQ(distinct.size(), table.pages.size());
    ASSERT_EQ(pages.free(kSliding) + static_cast<int32_t>(table.pages.size()), total);
    length += rows;
    pages.release_before(kSliding, table, length - kWindow + 1);
  }
  pages.release_all(kSliding, table);
  EXPECT_EQ(pages.free(kSliding), total);
}

TEST(KvCache, APageIsFreeOnceNobodyHoldsItAndIdleWhileOnlyTheCacheDoes) {
  KvPages pages({0, 3});
  const int32_t a = pages.acquire(kGlobal), b = pages.acquire(kGlobal);
  pages.cache(kGlobal, a);
  pages.cache(kGlobal, b);
  pages.retain(kGlobal, a);
  pages.release(kGlobal, a);
  EXPECT_EQ(pages.idle(kGlobal), 0);  // one sequence is left
  pages.release(kGlobal, a);
  pages.release(kGlobal, b);
  EXPECT_EQ(pages.idle(kGlobal), 2);
  EXPECT_EQ(pages.free(kGlobal), 1);
  EXPECT_EQ(pages.next_idle(kGlobal)->page, a);  // the longest idle
  pages.keep(kGlobal, a);
  EXPECT_EQ(pages.next_idle(kGlobal)->page, b);
  pages.keep(kGlobal, b);
  EXPECT_EQ(pages.next_idle(kGlobal)->page, a);
  pages.keep(kGlobal, a);  // once more: it is the youngest now
  EXPECT_EQ(pages.next_idle(kGlobal)->page, b);
  pages.retain(kGlobal, b);
  EXPECT_EQ(pages.next_idle(kGlobal)->page, a);
  pages.uncache(kGlobal, a);
  EXPECT_EQ(pages.free(kGlobal), 2);
  pages.uncache(kGlobal, b);  // a sequence still holds it
  EXPECT_EQ(pages.free(kGlobal), 2);
  pages.release(kGlobal, b);
  EXPECT_EQ(pages.free(kGlobal), 3);
  EXPECT_FALSE(pages.next_idle(kGlobal));
}

TEST(KvCacheDeathTest, AReleasedPageIsNobodys) {
  KvPages pages({2, 0});
  const int32_t page = pages.acquire(kSliding);
  pages.release(kSliding, page);
  EXPECT_DEATH(pages.release(kSliding, page), "is_held");
  EXPECT_DEATH(pages.retain(kSliding, page), "is_held");
}

}  // namespace
}  // namespace lapidary
