// Conversions and functions of the kernel tables against scalar code, value by value.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "ops_testing.h"

namespace lapidary {
namespace {

TEST(CpuLevels, NamesAndForcing) {
  ASSERT_FALSE(available_levels().empty());
  EXPECT_STREQ(available_levels().front()->name, "baseline");
  for (const CpuKernels* level : available_levels()) EXPECT_EQ(*level_named(level->name), level);
  const CpuKernels* fastest = *level_named("");
  EXPECT_NE(std::find(available_levels().begin(), available_levels().end(), fastest), available_levels().end());
  auto unknown = level_named("sse9");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);

  setenv("LAPIDARY_ISA", "baseline", 1);
  auto forced = make_cpu_ops({.threads = 1});
  ASSERT_TRUE(forced.has_value());
  EXPECT_EQ((*forced)->description(), "cpu/baseline, 1 thread");
  setenv("LAPIDARY_ISA", "mmx", 1);
  EXPECT_FALSE(make_cpu_ops({.threads = 1}).has_value());
  unsetenv("LAPIDARY_ISA");
}

TEST(CpuLevels, RefusesOptionsItCannotServe) {
  EXPECT_FALSE(make_cpu_ops({.threads = -1}).has_value());
  EXPECT_FALSE(make_cpu_ops({.threads = 1, .kv_type = DType::kU8}).has_value());
}

TEST(CpuKernels, DecodeIsExactForEveryPattern) {
  for (const CpuKernels* level : available_levels()) {
    for (Format format : {Format::kBF16, Format::kF16}) {
      const auto decode = level->decode[static_cast<size_t>(format)];
      if (decode == nullptr) continue;
      SCOPED_TRACE(level->name);
      std::vector<std::byte> bytes(2 * 65536 + 1);
      for (uint32_t i = 0; i < 65536; ++i) {
        const uint16_t bits = static_cast<uint16_t>(i);
        std::memcpy(bytes.data() + 1 + 2 * i, &bits, 2);
      }
      std::vector<float> got(65536), expected(65536);
      format_info(format).decode(bytes.data() + 1, 65536, expected.data());
      decode(bytes.data() + 1, 65536, got.data());
      for (size_t i = 0; i < got.size(); ++i) {
        if (std::isnan(expected[i])) {
          ASSERT_TRUE(std::isnan(got[i])) << i;
        } else {
          ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected[i])) << i;
        }
      }
      for (int64_t count : {1, 3, 4, 5, 15, 17}) {  // nothing beyond the end is written
        std::vector<float> shorter(static_cast<size_t>(count) + 1, 7.0f);
        decode(bytes.data() + 1 + 2 * 16256, count, shorter.data());
        EXPECT_EQ(shorter.back(), 7.0f);
        EXPECT_EQ(shorter[static_cast<size_t>(count) - 1], expected[16256 + static_cast<size_t>(count) - 1]);
      }
    }
  }
}

TEST(CpuKernels, EncodeRoundsAsTheScalarConversion) {
  std::vector<float> values;
  for (uint64_t i = 0; i < 20000; ++i) {
    values.push_back(std::bit_cast<float>(static_cast<uint32_t>(hash_counter(3, i, 0))));
    values.push_back(static_cast<float>(uniform_open(4, i, 0) * 2e-7));  // f16 subnormals
    values.push_back(static_cast<float>(uniform_open(5, i, 0) * 2e5));   // f16 overflow
  }
  for (uint32_t upper = 0; upper < 65536; upper += 13) {  // ties
    values.push_back(std::bit_cast<float>(upper << 16 | 0x8000u));
  }
  for (const CpuKernels* level : available_levels()) {
    SCOPED_TRACE(level->name);
    for (size_t count : {values.size(), size_t{1}, size_t{7}, size_t{33}}) {
      std::vector<uint16_t> bf16(count), f16(count);
      level->encode_bf16(values.data(), static_cast<int64_t>(count), bf16.data());
      level->encode_f16(values.data(), static_cast<int64_t>(count), f16.data());
      for (size_t i = 0; i < count; ++i) {
        if (std::isnan(values[i])) {
          ASSERT_TRUE(std::isnan(bf16_to_f32(bf16[i])) && std::isnan(f16_to_f32(f16[i])));
        } else {
          ASSERT_EQ(bf16[i], f32_to_bf16(values[i])) << values[i];
          ASSERT_EQ(f16[i], f32_to_f16(values[i])) << values[i];
        }
      }
    }
  }
}

// expm1's polynomial errs by 1.4e-8 relative; the reduced argument, the product and the sums round a few times each:
// within 4 units of 2^-24 of the result, and the quotient of tanh adds 3 more.
TEST(CpuKernels, TanhIsWithinAFewUnitsEverywhere) {
  std::vector<float> x;
  for (float v = 1e-30f; v < 100; v *= 1.003f) x.insert(x.end(), {v, -v});
  x.insert(x.end(), {0.0f, -0.0f, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()});
  for (const CpuKernels* level : available_levels()) {
    SCOPED_TRACE(level->name);
    std::vector<float> got = x;
    level->softcap(1.0f, got.data(), static_cast<int32_t>(got.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = std::tanh(static_cast<double>(x[i]));
      ASSERT_LE(std::abs(got[i] - expected), 8 * 0x1p-24 * std::abs(expected)) << x[i];
      ASSERT_EQ(std::signbit(got[i]), std::signbit(x[i]));
    }
    float nan = std::numeric_limits<float>::quiet_NaN();
    level->softcap(1.0f, &nan, 1);
    EXPECT_TRUE(std::isnan(nan));
  }
}

// gelu(x) = x / (1 + exp(e)), e = -2u: e carries 5 roundings, so exp(e) errs by 5 |e| 2^-24 relative, and it counts
// with the share exp / (1 + exp) it has in the denominator; another 8 units for exp itself, the sum and the quotient.
// Where exp is clamped (x < -9.9) the result is below |x| 2^-126.
TEST(CpuKernels, GeluIsRelativelyExactOnBothSides) {
  std::vector<float> x;
  for (float v = 1e-20f; v < 60; v *= 1.003f) x.insert(x.end(), {v, -v});
  const std::vector<float> ones(x.size(), 1.0f);
  for (const CpuKernels* level : available_levels()) {
    SCOPED_TRACE(level->name);
    std::vector<float> got(x.size());
    level->gelu_mul(x.data(), ones.data(), got.data(), static_cast<int32_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i], e = -2 * std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
      const double expected = v / (1 + std::exp(e)), share = 1 - 1 / (1 + std::exp(e));
      const double tolerance = std::abs(expected) * (5 * std::abs(e) * share + 8) * 0x1p-24 + std::abs(v) * 0x1p-126;
      ASSERT_LE(std::abs(got[i] - expected), tolerance) << x[i];
    }
    float gate = std::numeric_limits<float>::quiet_NaN(), up = 1, out = 0;
    level->gelu_mul(&gate, &up, &out, 1);
    EXPECT_TRUE(std::isnan(out));
  }
}

TEST(CpuKernels, ElementsDoNotDependOnTheirPlace) {
  const std::vector<float> x = {0.3f, -2.5f, 0.0007f, 8.0f, -0.11f, 1.7f, -30.0f, 12.0f, 0.9f};
  for (const CpuKernels* level : available_levels()) {
    SCOPED_TRACE(level->name);
    for (float value : x) {
      for (int32_t place = 0; place < 40; ++place) {
        std::vector<float> row(41, 0.5f), gate = row;
        row[static_cast<size_t>(place)] = gate[static_cast<size_t>(place)] = value;
        float alone = value, alone_gate = value, up = 0.5f;
        const std::vector<float> ups(41, 0.5f);
        level->softcap(3.0f, &alone, 1);
        level->softcap(3.0f, row.data(), 41);
        level->gelu_mul(&alone_gate, &up, &alone_gate, 1);
        level->gelu_mul(gate.data(), ups.data(), gate.data(), 41);
        ASSERT_EQ(row[static_cast<size_t>(place)], alone);
        ASSERT_EQ(gate[static_cast<size_t>(place)], alone_gate);
      }
    }
  }
}

}  // namespace
}  // namespace lapidary
