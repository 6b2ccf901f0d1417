#include "text/merge_table.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/rng.h"
#include "text/tokenizer_support.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

// The definition: look for the pair of smallest rank, leftmost among equals, merge it, start again.
struct NaiveMerges {
  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>> merges;  // pair -> rank, result
  void apply(Ids& symbols) const {
    while (true) {
      size_t best = 0;
      int32_t best_rank = INT32_MAX, result = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = merges.find({symbols[i], symbols[i + 1]});
        if (found == merges.end() || found->second.first >= best_rank) continue;
        best = i;
        best_rank = found->second.first;
        result = found->second.second;
      }
      if (best_rank == INT32_MAX) return;
      symbols[best] = result;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
  }
};

// A vocabulary of strings over a few letters, with a random order of merges, so that pieces block and enable each
// other.
struct RandomTable {
  std::vector<std::string> pieces;
  MergeTable table;
  NaiveMerges naive;

  RandomTable(uint64_t seed, int letters, int merge_count) {
    uint64_t counter = 0;
    const auto draw = [&](size_t below) { return static_cast<size_t>(hash_counter(seed, counter++, 0) % below); };
    for (int i = 0; i < letters; ++i) pieces.emplace_back(1, static_cast<char>('a' + i));
    std::map<std::string, int32_t> ids;
    for (size_t i = 0; i < pieces.size(); ++i) ids[pieces[i]] = static_cast<int32_t>(i);
    for (int rank = 0; rank < merge_count; ++rank) {
      const int32_t left = static_cast<int32_t>(draw(pieces.size())), right = static_cast<int32_t>(draw(pieces.size()));
      const std::string both = pieces[static_cast<size_t>(left)] + pieces[static_cast<size_t>(right)];
      const auto [entry, fresh] = ids.try_emplace(both, static_cast<int32_t>(pieces.size()));
      if (fresh) pieces.push_back(both);
      table.add(left, right, entry->second, pieces[static_cast<size_t>(left)].back() - 'a',
                pieces[static_cast<size_t>(right)].front() - 'a');
      naive.merges[{left, right}] = {rank, entry->second};  // a pair drawn twice keeps the later rank
    }
  }
};

TEST(MergeTable, EqualsTheDefinition) {
  MergeTable::Scratch scratch;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const RandomTable random(seed, 2 + static_cast<int>(seed % 4), 3 + static_cast<int>(seed % 40));
    for (const size_t length : {0u, 1u, 2u, 5u, 23u, 24u, 25u, 26u, 60u, 150u}) {
      Ids symbols;
      for (size_t i = 0; i < length; ++i) {
        symbols.push_back(static_cast<int32_t>(hash_counter(seed, i, length) % (2 + seed % 4)));
      }
      Ids expected = symbols;
      random.naive.apply(expected);
      random.table.apply(symbols, scratch);
      ASSERT_EQ(symbols, expected) << "seed " << seed << " length " << length;
    }
  }
}

// Cutting a text where no merge reaches across must not show.
TEST(MergeTable, CutsDoNotShow) {
  MergeTable::Scratch scratch;
  int cuts = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const int letters = 4 + static_cast<int>(seed % 12);
    const RandomTable random(seed, letters, 12);
    Ids whole, parts, part;
    for (size_t i = 0; i < 80; ++i) {
      const int32_t symbol = static_cast<int32_t>(hash_counter(seed, i, 1) % static_cast<uint64_t>(letters));
      whole.push_back(symbol);
      if (!part.empty() && !random.table.may_join(part.back(), symbol)) {
        ++cuts;
        random.table.apply(part, scratch);
        parts.insert(parts.end(), part.begin(), part.end());
        part.clear();
      }
      part.push_back(symbol);
    }
    random.table.apply(part, scratch);
    parts.insert(parts.end(), part.begin(), part.end());
    random.naive.apply(whole);
    ASSERT_EQ(parts, whole) << "seed " << seed;
  }
  EXPECT_GT(cuts, 1000);
}

TEST(MergeTable, LongRunsOfOneSymbol) {
  MergeTable table;
  table.add(0, 0, 1, 0, 0);
  table.add(1, 1, 2, 0, 0);
  MergeTable::Scratch scratch;
  Ids symbols(1'000'001, 0);
  table.apply(symbols, scratch);
  EXPECT_EQ(symbols.size(), 250'001u);
  EXPECT_EQ(symbols.back(), 0);
}

}  // namespace
}  // namespace lapidary
