#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace lapidary {
namespace {

TEST(ThreadPool, CoversEveryItemOnceAtAwkwardSizes) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (int64_t items : {0, 1, 2, 3, 16, 17, 1000}) {
      for (int64_t grain : {1, 2, 5, 2000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(items));
        pool.run(items, grain, [&](int64_t begin, int64_t end, int worker) {
          EXPECT_LE(end - begin, grain);
          EXPECT_LT(worker, threads);
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        for (const auto& count : seen)
          ASSERT_EQ(count, 1) << threads << " threads, " << items << " items, grain " << grain;
      }
    }
  }
}

TEST(ThreadPool, ManyShortJobsMeetAgain) {
  ThreadPool pool(3);
  int64_t total = 0;
  for (int job = 0; job < 20000; ++job) {
    std::atomic<int64_t> sum{0};
    pool.run(3, 1, [&](int64_t begin, int64_t, int) { sum += begin + 1; });
    total += sum;
  }
  EXPECT_EQ(total, 20000 * 6);
}

}  // namespace
}  // namespace lapidary
