// Attention on every level against the oracle: shuffled pages, released pages, windows, pictures, shared heads; and the
// same bits however a prompt is cut and whoever shares the step.
#include <algorithm>
#include <numeric>

#include "ops_testing.h"

namespace lapidary {
namespace {

struct Shape {
  int32_t head_dim = 64, kv_heads = 1, group = 1;
  int32_t heads() const { return kv_heads * group; }
  int32_t width() const { return kv_heads * head_dim; }
};

// One sequence: q, k, v of every position, and its pages in both groups.
struct Conversation {
  Conversation(Shape shape, int32_t length, uint64_t seed)
      : length(length),
        q(length, shape.heads() * shape.head_dim, seed, 2.0 / std::sqrt(shape.head_dim)),
        k(length, shape.width(), seed + 1, 3.0),
        v(length, shape.width(), seed + 2, 2.0),
        block_ends(static_cast<size_t>(length), 0) {}
  int32_t length;
  Pair q, k, v;
  std::vector<int32_t> block_ends;
  std::array<PageTable, kAttentionKinds> tables;
};

constexpr int32_t kPages = 64;

// Gives every conversation pages in random order; sliding pages before `keep_from` of a conversation are released.
class Pool {
 public:
  explicit Pool(uint64_t seed) {
    for (size_t g = 0; g < free_.size(); ++g) {
      free_[g].resize(kPages);
      std::iota(free_[g].begin(), free_[g].end(), 0);
      for (size_t i = free_[g].size(); i > 1; --i) {
        std::swap(free_[g][i - 1], free_[g][hash_counter(seed, g, i) % i]);
      }
    }
  }
  // Room up to `end` positions.
  void extend(Conversation& c, int32_t end) {
    for (size_t g = 0; g < c.tables.size(); ++g) {
      PageTable& table = c.tables[g];
      while (table.first_position + static_cast<int32_t>(table.pages.size()) * kPagePositions < end) {
        table.pages.push_back(free_[g].back());
        free_[g].pop_back();
      }
    }
  }
  void release_before(Conversation& c, int32_t position) {
    PageTable& table = c.tables[0];
    while (table.first_position + kPagePositions <= position) {
      free_[0].insert(free_[0].begin(), table.pages.front());
      table.pages.erase(table.pages.begin());
      table.first_position += kPagePositions;
    }
  }

 private:
  std::array<std::vector<int32_t>, kAttentionKinds> free_;
};

KvLayout layout_of(Shape shape) {
  const KvLayerShape other{8, 1}, own{shape.head_dim, shape.kv_heads};  // the layer under test is not the first
  return {{KvGroup{kPages, {other, own}}, KvGroup{kPages, {other, own}}}};
}

// Fills every page with NaN, so that a slot nobody wrote shows.
void poison(Ops& ops, Shape shape) {
  const int32_t positions = kPages * kPagePositions;
  std::array<PageTable, kAttentionKinds> tables;
  for (PageTable& table : tables) {
    table.pages.resize(kPages);
    std::iota(table.pages.begin(), table.pages.end(), 0);
  }
  Batch batch;
  batch.token_ids.assign(static_cast<size_t>(positions), 0);
  batch.positions.resize(static_cast<size_t>(positions));
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.block_ends.assign(static_cast<size_t>(positions), 0);
  batch.slices = {{{&tables[0], &tables[1]}, 0, positions, positions}};
  const StepInputs in = ops.upload(batch, {.sliding_window = 1});
  Padded<float> nans(positions, shape.width(), 0);
  Padded<double> exact_nans(ops.activation_type() == DType::kF64 ? positions : 0, shape.width(), 0);
  const TensorView x = ops.activation_type() == DType::kF64 ? exact_nans.view() : nans.view();
  for (int32_t g = 0; g < kAttentionKinds; ++g) {
    ops.kv_write({g, 1, shape.head_dim, shape.kv_heads}, x, x, *in.plan[static_cast<size_t>(g)]);
  }
}

// A piece of a conversation in a step.
struct Piece {
  Conversation* conversation;
  int32_t begin, end;
};

// One step: writes K and V of the pieces' rows and attends in both groups. out[g] gets the rows, in order.
template <class T>
void run_step(Ops& ops, Shape shape, const AttentionRules& rules, const std::vector<Piece>& pieces,
              std::array<Padded<T>*, kAttentionKinds> out) {
  Batch batch;
  for (const Piece& piece : pieces) {
    Conversation& c = *piece.conversation;
    batch.slices.push_back({{&c.tables[0], &c.tables[1]}, batch.rows(), piece.end - piece.begin, piece.end});
    for (int32_t p = piece.begin; p < piece.end; ++p) {
      batch.token_ids.push_back(0);
      batch.positions.push_back(p);
      batch.block_ends.push_back(c.block_ends[static_cast<size_t>(p)]);
    }
  }
  const auto gathered = [&](Pair Conversation::*member, int32_t cols) {
    Padded<T> x(batch.rows(), cols);
    int32_t row = 0;
    for (const Piece& piece : pieces) {
      for (int32_t p = piece.begin; p < piece.end; ++p, ++row) {
        for (int32_t c = 0; c < cols; ++c) x.at(row, c) = (piece.conversation->*member).single.at(p, c);
      }
    }
    return x;
  };
  Padded<T> q = gathered(&Conversation::q, shape.heads() * shape.head_dim);
  Padded<T> k = gathered(&Conversation::k, shape.width()), v = gathered(&Conversation::v, shape.width());
  const StepInputs in = ops.upload(batch, rules);
  for (int32_t g = 0; g < kAttentionKinds; ++g) {
    const KvView kv{g, 1, shape.head_dim, shape.kv_heads};
    const AttentionPlan& plan = *in.plan[static_cast<size_t>(g)];
    ops.kv_write(kv, k.view(), v.view(), plan);
    ops.attention(q.view(), kv, plan, out[static_cast<size_t>(g)]->view());
  }
}

template <class T>
struct Answers {
  Answers(int32_t rows, Shape shape)
      : sliding(rows, shape.heads() * shape.head_dim), global(rows, shape.heads() * shape.head_dim) {}
  Padded<T> sliding, global;
  std::array<Padded<T>*, kAttentionKinds> both() { return {&sliding, &global}; }
};

// |q| <= 2 / sqrt(dim) and |k| <= 3, so a score of dim terms is at most 6 sqrt(dim) in magnitude of its parts, and errs
// by (dim / 2 + 8) 2^-24 of that; so do weights, relatively, twice (their sum too), with the sums over the keys. Values
// are at most 2. Rounding K and V to the cache type is the same in the oracle.
double attention_tolerance(Shape shape, int32_t keys) {
  const double score = (shape.head_dim / 2.0 + 8) * 0x1p-24 * 6 * std::sqrt(shape.head_dim);
  return 2 * (2 * score + (keys / 2.0 + 24) * 0x1p-24);
}

void check_against_reference(Shape shape, DType kv_type, int32_t length, const AttentionRules& rules,
                             const std::vector<std::pair<int32_t, int32_t>>& pictures, int32_t last_piece) {
  SCOPED_TRACE(testing::Message() << "head_dim " << shape.head_dim << " kv_heads " << shape.kv_heads << " group "
                                  << shape.group << " length " << length << " window " << rules.sliding_window
                                  << " last " << last_piece);
  // A prompt up to begin, then, with the first pages released, the rows that are compared; a short neighbour beside.
  const int32_t begin = length - last_piece;
  const auto play = [&](Ops& ops, auto& answers) {
    Conversation c(shape, length, 40), neighbour(shape, 5, 50);
    for (const auto& [from, to] : pictures) {
      std::fill(c.block_ends.begin() + from, c.block_ends.begin() + to, to);
    }
    Pool pool(60);
    using T = std::remove_reference_t<decltype(answers.sliding.at(0, 0))>;
    pool.extend(neighbour, 5);
    if (begin > 0) {
      pool.extend(c, begin);
      Answers<T> unused(begin, shape);
      run_step<T>(ops, shape, rules, {{&c, 0, begin}}, unused.both());
      pool.release_before(c, begin - rules.sliding_window + 1);
    }
    pool.extend(c, length);
    run_step<T>(ops, shape, rules, {{&neighbour, 0, 5}, {&c, begin, length}}, answers.both());
  };
  const auto reference = reference_ops(kv_type);
  ASSERT_TRUE(reference->reserve_kv(layout_of(shape)).has_value());
  Answers<double> expected(5 + last_piece, shape);
  play(*reference, expected);
  on_every_backend(Precision::kFast, kv_type, [&](Ops& ops, const CpuKernels&) {
    ASSERT_TRUE(ops.reserve_kv(layout_of(shape)).has_value());
    poison(ops, shape);
    Answers<float> got(5 + last_piece, shape);
    play(ops, got);
    const auto tolerance = [&](int, int) { return attention_tolerance(shape, length); };
    expect_near(got.sliding, expected.sliding, tolerance);
    expect_near(got.global, expected.global, tolerance);
  });
}

TEST(CpuAttention, HeadShapes) {
  for (int32_t head_dim : {16, 24, 32, 64, 128, 256, 512}) {
    for (int32_t group : {1, 2, 4, 16}) {
      const int32_t kv_heads = group == 1 || group == 4 ? 3 : 1;
      check_against_reference({head_dim, kv_heads, group}, DType::kBF16, 70, {.sliding_window = 33}, {}, 9);
      if (HasFailure()) return;
    }
  }
}

TEST(CpuAttention, LengthsAroundPagesAndChunks) {
  for (int32_t length : {1, 31, 32, 33, 65, 511, 512, 513, 1100}) {
    for (int32_t last : {1, 40}) {
      if (last > length) continue;
      check_against_reference({32, 2, 3}, DType::kF16, length, {.sliding_window = 100}, {}, last);
      check_against_reference({32, 1, 4}, DType::kF32, length, {.sliding_window = 1}, {}, last);
      check_against_reference({16, 1, 8}, DType::kBF16, length, {.sliding_window = 600}, {}, last);
      if (HasFailure()) return;
    }
  }
}

TEST(CpuAttention, PicturesSeeThemselvesOnSlidingLayers) {
  const AttentionRules rules{.sliding_window = 20, .image_tokens_see_each_other = true};
  check_against_reference({32, 2, 2}, DType::kBF16, 120, rules, {{3, 30}, {60, 118}}, 120);
  check_against_reference({64, 1, 8}, DType::kBF16, 600, rules, {{500, 560}}, 110);
}

// A prompt whole, in pieces of any size, with any threads, alone or beside other sequences: the same bits, row by row.
TEST(CpuAttention, SameBitsHoweverThePromptIsCutAndWhoeverIsBeside) {
  const AttentionRules rules{.sliding_window = 50};
  constexpr int32_t kLength = 600;
  for (const Shape shape : {Shape{64, 1, 8}, Shape{16, 2, 3}, Shape{48, 3, 1}}) {
    for (DType kv_type : {DType::kBF16, DType::kF16}) {
      for (const CpuKernels* level : available_levels()) {
        SCOPED_TRACE(testing::Message() << level->name << " head_dim " << shape.head_dim);
        std::unique_ptr<Answers<float>> whole;
        for (int32_t threads : {1, 2, 3}) {
          for (int32_t piece : {kLength, 1, 13, 64, 333}) {
            if (piece == 1 && threads > 1) continue;
            const auto ops = cpu_ops(*level, threads, Precision::kFast, kv_type);
            ASSERT_TRUE(ops->reserve_kv(layout_of(shape)).has_value());
            poison(*ops, shape);
            Conversation c(shape, kLength, 70), neighbour(shape, kLength, 80);
            Pool pool(static_cast<uint64_t>(piece));
            auto answers = std::make_unique<Answers<float>>(kLength, shape);
            for (int32_t begin = 0; begin < kLength; begin += piece) {
              const int32_t end = std::min(kLength, begin + piece);
              pool.extend(c, end);
              std::vector<Piece> pieces = {{&c, begin, end}};
              if (piece == 13 || piece == 333) {  // a neighbour at other positions goes first
                pool.extend(neighbour, end);
                pieces.insert(pieces.begin(), {&neighbour, begin, begin + (end - begin + 1) / 2});
              }
              int32_t rows = 0;
              for (const Piece& p : pieces) rows += p.end - p.begin;
              Answers<float> step(rows, shape);
              run_step<float>(*ops, shape, rules, pieces, step.both());
              const int32_t first = rows - (end - begin);
              for (int32_t r = begin; r < end; ++r) {
                for (int32_t col = 0; col < step.global.cols(); ++col) {
                  answers->sliding.at(r, col) = step.sliding.at(first + r - begin, col);
                  answers->global.at(r, col) = step.global.at(first + r - begin, col);
                }
              }
              if (piece <= 64) pool.release_before(c, end - rules.sliding_window + 1);
            }
            if (whole == nullptr) {
              whole = std::move(answers);
              continue;
            }
            ASSERT_TRUE(answers->sliding.same_bits(whole->sliding)) << threads << " threads, pieces of " << piece;
            ASSERT_TRUE(answers->global.same_bits(whole->global)) << threads << " threads, pieces of " << piece;
          }
        }
      }
    }
  }
}

// A NaN in sight comes out; one out of sight does not.
TEST(CpuAttention, NanIsNeitherHiddenNorSpread) {
  const Shape shape{32, 1, 2};
  on_every_backend(Precision::kFast, DType::kF32, [&](Ops& ops, const CpuKernels&) {
    ASSERT_TRUE(ops.reserve_kv(layout_of(shape)).has_value());
    Conversation c(shape, 40, 90);
    c.v.set(20, 5, std::numeric_limits<float>::quiet_NaN());
    c.k.set(30, 7, std::numeric_limits<float>::quiet_NaN());
    Pool pool(1);
    pool.extend(c, 40);
    Answers<float> got(40, shape);
    run_step<float>(ops, shape, {.sliding_window = 4}, {{&c, 0, 40}}, got.both());
    for (int32_t r = 0; r < 40; ++r) {
      const bool sees_v = r >= 20, sees_k = r >= 30, window_v = r >= 20 && r < 24, window_k = r >= 30 && r < 34;
      for (int32_t h = 0; h < 2; ++h) {
        ASSERT_EQ(std::isnan(got.global.at(r, h * 32 + 5)), sees_v) << r;
        ASSERT_EQ(std::isnan(got.global.at(r, h * 32 + 6)), sees_k) << r;
        ASSERT_EQ(std::isnan(got.sliding.at(r, h * 32 + 5)), window_v || window_k) << r;
        ASSERT_EQ(std::isnan(got.sliding.at(r, h * 32 + 6)), window_k) << r;
      }
    }
  });
}

TEST(CpuAttention, MemoryThatCannotBeHadIsAnError) {
  const auto ops = cpu_ops(*available_levels().front(), 1);
  KvLayout layout;
  layout.groups[1] = {std::numeric_limits<int32_t>::max(), {{512, 4096}}};
  auto reserved = ops->reserve_kv(layout);
  ASSERT_FALSE(reserved.has_value());
  EXPECT_EQ(reserved.error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace lapidary
