#include "engine/logit_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "engine/soft_token_cache.h"

namespace lapidary {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int32_t kVocab = 70;

std::vector<float> random_logits(uint64_t seed) {
  std::vector<float> logits;
  for (uint64_t id = 0; id < kVocab; ++id) logits.push_back(static_cast<float>(20 * uniform_open(seed, id, 0) - 10));
  return logits;
}

// Only multiples of three.
class Threes final : public TokenConstraint {
 public:
  bool allowed_next(std::span<uint64_t> allowed) override {
    EXPECT_EQ(allowed.size(), 2u);
    if (free_) return false;
    for (size_t id = 0; id < kVocab; id += 3) allowed[id / 64] |= 1ull << (id % 64);
    return true;
  }
  void accept(int32_t token) override { told.push_back(token); }
  std::vector<int32_t> told;
  bool free_ = false;
};

// The header's formulas over the whole vocabulary, counting anew each time.
std::vector<float> expected(std::vector<float> logits, const GenerationRequest& r, const std::vector<int32_t>& ends,
                            const std::vector<int32_t>& answer, bool threes) {
  std::vector<int32_t> all = r.prompt;
  all.insert(all.end(), answer.begin(), answer.end());
  const SamplingParams& p = r.sampling;
  const size_t window = p.repetition_window < 0 ? all.size() : static_cast<size_t>(p.repetition_window);
  const std::vector<int32_t> last(all.end() - static_cast<std::ptrdiff_t>(std::min(window, all.size())), all.end());
  for (int32_t id = 0; id < kVocab; ++id) {
    float& logit = logits[static_cast<size_t>(id)];
    bool never = threes && id % 3 != 0;
    if (answer.size() < static_cast<size_t>(r.tokens_min)) never |= std::count(ends.begin(), ends.end(), id) > 0;
    for (const auto& [token, bias] : p.logit_bias) {
      if (token == id) logit += bias;
      never |= token == id && bias <= -100;
    }
    if (std::count(last.begin(), last.end(), id) > 0)
      logit = logit > 0 ? logit / p.repetition_penalty : logit * p.repetition_penalty;
    const auto count = std::count(answer.begin(), answer.end(), id);
    logit -= p.frequency_penalty * static_cast<float>(count);
    logit -= count > 0 ? p.presence_penalty : 0.0f;
    if (never) logit = kNever;
  }
  return logits;
}

TEST(LogitRules, FollowTheFormulasWhateverIsCombined) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto roll = [&](uint64_t which, uint64_t n) { return hash_counter(seed, which, 99) % n; };
    GenerationRequest r;
    for (uint64_t i = 0; i < 5 + roll(0, 20); ++i) r.prompt.push_back(static_cast<int32_t>(roll(100 + i, kVocab)));
    SamplingParams& p = r.sampling;
    if (roll(1, 2)) p.repetition_penalty = 1.5f;
    if (roll(2, 2)) p.repetition_window = static_cast<int32_t>(roll(3, 40));
    if (roll(4, 2)) p.frequency_penalty = 0.7f;
    if (roll(5, 2)) p.presence_penalty = -1.1f;
    if (roll(6, 2)) p.logit_bias = {{3, 5.5f}, {4, -100.0f}, {69, -7.0f}};
    if (roll(7, 2)) r.tokens_min = static_cast<int32_t>(roll(8, 30));
    Threes threes;
    const bool constrained = roll(9, 2) == 1;
    const std::vector<int32_t> ends = {1, 60};
    LogitRules rules(r, ends, constrained ? &threes : nullptr);
    std::vector<int32_t> answer, all = r.prompt;
    for (uint64_t step = 0; step < 25; ++step) {
      const std::vector<float> raw = random_logits(seed * 100 + step);
      std::vector<float> logits = raw;
      const std::vector<float> wanted = expected(raw, r, ends, answer, constrained);
      if (rules.active()) rules.apply(logits, all);
      ASSERT_EQ(logits, wanted) << "seed " << seed << ", step " << step;
      const int32_t token = static_cast<int32_t>(hash_counter(seed, step, 5) % kVocab);
      rules.accept(token);
      answer.push_back(token);
      all.push_back(token);
    }
    if (constrained) {
      EXPECT_EQ(threes.told, answer);
    }
  }
}

TEST(LogitRules, DoNothingWhenNothingIsAsked) {
  GenerationRequest r;
  r.prompt = {1, 2, 3};
  EXPECT_FALSE(LogitRules(r, {1}, nullptr).active());
  r.tokens_min = 1;
  LogitRules rules(r, {1}, nullptr);
  EXPECT_TRUE(rules.active());
  rules.accept(5);
  EXPECT_FALSE(rules.active());
  Threes threes;
  threes.free_ = true;
  LogitRules open(r, {}, &threes);
  std::vector<float> logits = random_logits(1);
  open.apply(logits, r.prompt);
  EXPECT_EQ(logits, random_logits(1));
}

TEST(ChoiceSeed, TheFirstKeepsTheRequestsOwn) {
  EXPECT_EQ(choice_seed(7, 0), 7u);
  EXPECT_NE(choice_seed(7, 1), 7u);
  EXPECT_NE(choice_seed(7, 1), choice_seed(7, 2));
  EXPECT_NE(choice_seed(7, 1), choice_seed(8, 1));
}

TEST(SoftTokenCache, KeepsWhatWasUsedLastWithinItsBytes) {
  SoftTokenCache cache(3 * 4 * static_cast<int64_t>(sizeof(float)));
  for (uint64_t i = 1; i <= 3; ++i) cache.add(i, std::vector<float>(4, static_cast<float>(i)));
  ASSERT_NE(cache.find(1), nullptr);
  EXPECT_EQ(*cache.find(1), std::vector<float>(4, 1.0f));
  cache.add(4, std::vector<float>(4, 4.0f));
  EXPECT_EQ(cache.find(2), nullptr);  // 1 was used since
  EXPECT_NE(cache.find(1), nullptr);
  EXPECT_NE(cache.find(4), nullptr);
  cache.add(5, std::vector<float>(13, 0.0f));  // larger than everything
  EXPECT_EQ(cache.find(5), nullptr);
  EXPECT_EQ(cache.bytes(), 48);
  SoftTokenCache none(0);
  none.add(1, {1.0f});
  EXPECT_EQ(none.find(1), nullptr);
}

TEST(SoftTokenCache, KnowsMediaByContentAndKind) {
  MediaInput picture;
  picture.content_hash = 5;
  picture.rows = 9;
  MediaInput frame = picture, other = picture, longer = picture;
  frame.kind = MediaKind::kVideo;
  other.content_hash = 6;
  longer.rows = 10;
  EXPECT_EQ(media_identity(picture), media_identity(MediaInput(picture)));
  for (const MediaInput* input : {&frame, &other, &longer}) EXPECT_NE(media_identity(picture), media_identity(*input));
}

}  // namespace
}  // namespace lapidary
