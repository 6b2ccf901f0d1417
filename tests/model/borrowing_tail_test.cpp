// Layers that borrow K and V run only for the rows whose output is wanted: the same bits as when they run for all.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "engine/kv_cache.h"
#include "golden_support/backends.h"
#include "golden_support/golden_case.h"
#include "model/model.h"
#include "ops/select/select.h"

namespace lapidary {
namespace {

using testing::Backend;

constexpr int32_t kPositions = 96;

class BorrowingTail : public ::testing::TestWithParam<std::string> {};

// Two prompts side by side in one step, and what the final norm says at the wanted rows. layers: rows the last layer
// was run for.
std::vector<float> hidden(Model& model, const std::vector<int32_t>& tokens, const std::vector<int32_t>& wanted,
                          int32_t& last_layer_rows) {
  std::array<std::array<PageTable, kAttentionKinds>, 2> tables;
  const int32_t pages = global_pages(kPositions);
  Batch batch;
  for (int32_t s = 0; s < 2; ++s) {
    const int32_t rows = s == 0 ? 30 : 50;  // the first prompt is the start of the second
    for (PageTable& table : tables[static_cast<size_t>(s)]) {
      for (int32_t page = 0; page < pages; ++page) table.pages.push_back(s * pages + page);
    }
    const auto& own = tables[static_cast<size_t>(s)];
    batch.slices.push_back({{&own[0], &own[1]}, batch.rows(), rows, rows});
    for (int32_t p = 0; p < rows; ++p) {
      batch.token_ids.push_back(tokens[static_cast<size_t>(p)]);
      batch.positions.push_back(p);
      batch.block_ends.push_back(0);
    }
  }
  batch.logit_rows = wanted;
  last_layer_rows = 0;
  const int32_t last = static_cast<int32_t>(model.config().layers.size()) - 1;
  model.decoder().set_probe([&](int32_t layer, TensorView x) { last_layer_rows = layer == last ? x.rows : 0; });
  model.decoder().forward(batch);
  const TensorView out = model.decoder().hidden();
  std::vector<float> values(static_cast<size_t>(out.rows) * static_cast<size_t>(out.cols));
  if (out.rows > 0) model.ops().read(out, values);
  return values;
}

TEST_P(BorrowingTail, IsSkippedForRowsNobodyAsksForBitForBit) {
  const std::vector<int32_t> tokens = testing::load_golden_case(GetParam(), "text-long").prompt;
  for (const Backend& backend : testing::backends()) {
    const testing::ForcedLevel forced(backend);
    for (const Precision precision : {Precision::kFast, Precision::kFull}) {
      auto ops = make_ops(backend.device, {.threads = 2, .precision = precision});
      ASSERT_TRUE(ops) << ops.error().message;
      auto opened = Model::open(testing::golden_model(GetParam()), std::move(*ops), {.rows_max = kPositions});
      ASSERT_TRUE(opened) << opened.error().message;
      Model& model = **opened;
      ASSERT_LT(model.config().borrowing_tail(), static_cast<int32_t>(model.config().layers.size()));
      KvLayout layout = kv_layout(model.config());
      for (KvGroup& group : layout.groups) group.pages = 2 * global_pages(kPositions);
      ASSERT_TRUE(model.ops().reserve_kv(layout));

      std::vector<int32_t> all(80);
      for (size_t r = 0; r < all.size(); ++r) all[r] = static_cast<int32_t>(r);
      int32_t rows = 0;
      const std::vector<float> expected = hidden(model, tokens, all, rows);
      ASSERT_EQ(rows, 80);
      const size_t dim = static_cast<size_t>(model.config().dim);
      // The last of both; one alone; rows of one prompt; scattered ones; all but one.
      std::vector<int32_t> but_one = all;
      but_one.erase(but_one.begin() + 41);
      for (const std::vector<int32_t>& wanted :
           {std::vector<int32_t>{29, 79}, {79}, {31, 32, 60}, {0, 5, 28, 30, 47, 78}, but_one}) {
        const std::vector<float> got = hidden(model, tokens, wanted, rows);
        EXPECT_EQ(rows, static_cast<int32_t>(wanted.size()));
        for (size_t i = 0; i < wanted.size(); ++i) {
          ASSERT_EQ(std::memcmp(got.data() + i * dim, expected.data() + static_cast<size_t>(wanted[i]) * dim,
                                dim * sizeof(float)),
                    0)
              << backend.name() << ", row " << wanted[i] << " of " << wanted.size();
        }
      }
      hidden(model, tokens, {}, rows);
      EXPECT_EQ(rows, 0);  // a step that only fills the cache ends before the tail
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BorrowingTail, ::testing::Values("e2b", "e4b"));

}  // namespace
}  // namespace lapidary
