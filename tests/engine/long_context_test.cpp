// Far into a context: rotary embedding up to position 262,143 and a prompt of 33,024 tokens, against the reference.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/mapped_file.h"
#include "engine/engine_runner.h"
#include "files/safetensors.h"
#include "golden_support/backends.h"
#include "ops/select/select.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

struct GoldenTensors {
  Checkpoint tensors;

  explicit GoldenTensors(const std::string& name) {
    auto file = MappedFile::open(testing::golden_folder() / "long" / name);
    CHECK(file.has_value());
    auto entries = parse_safetensors(file->bytes(), name);
    CHECK(entries.has_value() && tensors.add(std::move(*file), std::move(*entries)).has_value());
  }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const TensorEntry* entry = tensors.find(name);
    CHECK(entry != nullptr);
    std::vector<T> values(static_cast<size_t>(entry->elements()));
    CHECK(entry->bytes.size() == values.size() * sizeof(T));
    std::memcpy(values.data(), entry->bytes.data(), entry->bytes.size());
    return values;
  }
};

struct Kind {
  const char* name;
  RopeSpec rope;
  int32_t head_dim;
};
// The rotary embeddings of the released models.
constexpr std::array kKinds = {Kind{"sliding", {10'000.0f, 1.0f}, 256}, Kind{"full", {1'000'000.0f, 0.25f}, 512}};

TEST(LongPositions, FrequenciesAreThoseOfTheReference) {
  const GoldenTensors golden("positions.safetensors");
  for (const Kind& kind : kKinds) {
    const auto expected = golden.values<float>(std::string(kind.name) + ".inv_freq");
    const std::vector<float> found = rope_frequencies(kind.rope, kind.head_dim);
    ASSERT_EQ(found.size(), expected.size()) << kind.name;
    // The reference's power function may be one unit in the last place away from the correctly rounded one.
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_LE(std::abs(std::bit_cast<int32_t>(found[i]) - std::bit_cast<int32_t>(expected[i])), 1)
          << kind.name << ", pair " << i;
    }
  }
}

// A unit in the last place of a frequency is 2^-24 of the angle: 0.0039 rad where the angle is 65,000, in one pair of
// the full layers. All others agree to the rounding of cos and sin themselves.
TEST(LongPositions, AnglesAreThoseOfTheReferenceToTheEndOfTheContext) {
  const GoldenTensors golden("positions.safetensors");
  const auto positions = golden.values<int32_t>("positions");
  ASSERT_EQ(positions.back(), 262'143);
  for (const Kind& kind : kKinds) {
    const std::string name = kind.name;
    const auto expected_frequencies = golden.values<float>(name + ".inv_freq");
    const auto cosines = golden.values<float>(name + ".cos"), sines = golden.values<float>(name + ".sin");
    const std::vector<float> frequencies = rope_frequencies(kind.rope, kind.head_dim);
    const size_t pairs = frequencies.size();
    double worst = 0;
    for (size_t p = 0; p < positions.size(); ++p) {
      for (size_t i = 0; i < pairs; ++i) {
        const RopeAngle angle = rope_angle(positions[p], frequencies[i]);
        const double difference =
            std::max(std::abs(angle.cos - cosines[p * pairs + i]), std::abs(angle.sin - sines[p * pairs + i]));
        const bool same = frequencies[i] == expected_frequencies[i];
        const double rounding = static_cast<double>(positions[p]) * static_cast<double>(frequencies[i]) * 0x1p-23;
        EXPECT_LE(difference, same ? 1.2e-7 : 1.2e-7 + rounding)
            << name << ", position " << positions[p] << ", pair " << i;
        worst = std::max(worst, difference);
      }
    }
    std::printf("%s: largest difference of a cosine or sine %.2g\n", kind.name, worst);
  }
}

// Heads of the released sizes, turned on every back-end.
TEST(LongPositions, HeadsTurnAsTheReferenceTurnsThem) {
  const GoldenTensors golden("positions.safetensors");
  const auto positions = golden.values<int32_t>("positions");
  const int32_t rows = static_cast<int32_t>(positions.size());
  for (const testing::Backend& backend : testing::backends()) {
    const testing::ForcedLevel forced(backend);
    auto ops = make_ops(backend.device, {.threads = 1, .precision = Precision::kFull, .kv_type = DType::kF32});
    ASSERT_TRUE(ops);
    for (const Kind& kind : kKinds) {
      const size_t dim = static_cast<size_t>(kind.head_dim), half = dim / 2;
      const auto cosines = golden.values<float>(std::string(kind.name) + ".cos"),
                 sines = golden.values<float>(std::string(kind.name) + ".sin");
      const size_t pairs = cosines.size() / positions.size();
      std::vector<float> x(positions.size() * dim);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i) + 0.1));
      const auto heads = (*ops)->allocate(rows, kind.head_dim, (*ops)->activation_type());
      const auto at = (*ops)->allocate(rows, 1, DType::kI32);
      ASSERT_TRUE(heads && at);
      (*ops)->write(x, *heads);
      (*ops)->write_ids(positions, *at);
      (*ops)->norm_rope(*heads, {}, 1e-6f, kind.rope, *at);
      std::vector<float> found(x.size());
      (*ops)->read(*heads, found);
      double worst = 0;
      for (size_t p = 0; p < positions.size(); ++p) {
        const float* row = x.data() + p * dim;
        double squares = 0;
        for (size_t c = 0; c < dim; ++c) squares += static_cast<double>(row[c]) * static_cast<double>(row[c]);
        const double factor = 1.0 / std::sqrt(squares / static_cast<double>(dim) + 1e-6);
        for (size_t i = 0; i < half; ++i) {
          const double a = row[i] * factor, b = row[i + half] * factor;
          const double cos = i < pairs ? static_cast<double>(cosines[p * pairs + i]) : 1.0;
          const double sin = i < pairs ? static_cast<double>(sines[p * pairs + i]) : 0.0;
          worst = std::max({worst, std::abs(found[p * dim + i] - (a * cos - b * sin)),
                            std::abs(found[p * dim + i + half] - (b * cos + a * sin))});
        }
      }
      // The pair whose frequency is rounded otherwise: 0.0039 rad of a value of at most 1.5 * sqrt(2).
      EXPECT_LE(worst, std::string(kind.name) == "full" ? 1e-2 : 2e-5) << kind.name << " on " << backend.name();
    }
  }
}

// As prompt_ids in scripts/golden/long_context.py.
std::vector<int32_t> prompt_ids(size_t count, uint32_t vocab) {
  std::vector<int32_t> ids = {2};
  uint32_t state = 12345;
  while (ids.size() < count) {
    state = state * 1'664'525u + 1'013'904'223u;
    ids.push_back(static_cast<int32_t>((state >> 16) % vocab));
  }
  return ids;
}

// Sixteen pieces and a ragged end; sliding pages are released on the way.
TEST(LongPrompt, LogitsOf33024PositionsEqualTheReference) {
  const GoldenTensors golden("long.safetensors");
  const auto rows = golden.values<int32_t>("rows");
  const auto logits = golden.values<float>("logits");
  const auto facts = parse_json(*read_file(testing::golden_folder() / "long/long.json", 1 << 16), "long.json");
  ASSERT_TRUE(facts);
  const size_t count = (*facts)["tokens"].get<size_t>(), vocab = 641;
  ASSERT_GE(count, 33'000u);
  GenerationRequest request;
  request.prompt = prompt_ids(count, vocab);
  const auto first = (*facts)["first"].get<std::vector<int32_t>>(), last = (*facts)["last"].get<std::vector<int32_t>>();
  ASSERT_TRUE(std::equal(first.begin(), first.end(), request.prompt.begin()));
  ASSERT_TRUE(std::equal(last.rbegin(), last.rend(), request.prompt.rbegin()));

  EngineOptions options;
  options.ops = {.threads = 2, .precision = Precision::kFull, .kv_type = DType::kF32};
  options.batch_tokens_max = 2000;
  options.context = 33'100;
  const auto engine = testing::open_engine("long", options);
  ASSERT_NE(engine, nullptr);
  request.tokens_max = 1;
  request.sampling.temperature = 0;
  request.ignore_eos = true;
  request.logprobs = 20;
  request.prompt_logprobs = true;
  std::vector<float> final_row;
  request.on_logits = [&](int32_t, std::span<const float> row) { final_row.assign(row.begin(), row.end()); };
  const testing::Answer answer = testing::run(*engine, request);
  ASSERT_EQ(answer.prompt_logprobs.size(), count - 1);

  double worst = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::span<const float> expected = std::span(logits).subspan(r * vocab, vocab);
    const size_t position = static_cast<size_t>(rows[r]);
    if (position + 1 == count) {
      ASSERT_EQ(final_row.size(), vocab);
      for (size_t id = 0; id < vocab; ++id)
        worst = std::max(worst, static_cast<double>(std::abs(final_row[id] - expected[id])));
      EXPECT_EQ(answer.tokens.at(0), std::max_element(expected.begin(), expected.end()) - expected.begin());
      continue;
    }
    const TokenLogprob wanted = token_logprob(expected, request.prompt[position + 1], 20);
    const TokenLogprob& found = answer.prompt_logprobs[position];
    worst = std::max(worst, std::abs(found.logprob - wanted.logprob));
    ASSERT_EQ(found.top.size(), 20u);
    for (const auto& [token, logprob] : found.top) {
      worst = std::max(worst, std::abs(logprob - token_logprob(expected, token, 0).logprob));
    }
  }
  std::printf("long prompt: largest difference of a log-probability or final logit %.2g\n", worst);
  EXPECT_LE(worst, 2e-4);  // 1.3e-5 here
}

TEST(LongPrompt, BeyondTheModelsLimitIsRefusedWithTheLimit) {
  EngineOptions options;
  options.model_path = testing::golden_model("long").string();
  options.ops.threads = 1;
  options.context = 262'145;
  const auto refused = Engine::open(options);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("--context: expected 1 to 262144 positions (the model's limit), found 262145"));
  options.context = 262'144;
  const auto engine = Engine::open(options);
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->memory().context, 262'144);
  EXPECT_EQ((*engine)->memory().global_pages, 8192);
  // One full layer with one head of 16, K and V in bf16.
  EXPECT_EQ((*engine)->memory().kv_bytes,
            262'144LL * 64 + static_cast<int64_t>((*engine)->memory().sliding_pages) * kPagePositions * 64);
}

}  // namespace
}  // namespace lapidary
