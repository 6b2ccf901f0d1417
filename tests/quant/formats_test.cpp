#include "quant/formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace lapidary {
namespace {

// The relative step of each format: encoding may move a value by half of it.
double relative_step(Format format) {
  switch (format) {
    case Format::kF32:
      return 0;
    case Format::kBF16:
      return 0x1p-7;
    case Format::kF16:
      return 0x1p-10;
  }
  return 0;
}

TEST(Formats, TableIsInOrderAndNamesAreUnique) {
  for (const FormatInfo& info : formats()) {
    EXPECT_EQ(&format_info(info.format), &info);
    EXPECT_EQ(format_named(info.name), info.format);
  }
  EXPECT_EQ(format_named("q9_9"), std::nullopt);
}

TEST(Formats, EncodeThenDecodeStaysWithinHalfAStep) {
  for (const FormatInfo& info : formats()) {
    for (int64_t blocks : {1, 2, 7, 33}) {
      const int64_t count = blocks * info.block_values;
      std::vector<float> values(static_cast<size_t>(count)), back(values.size());
      for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(uniform_open(7, i, 0) * 4 - 2);
      std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(info.format, count)) + 1);
      info.encode(values.data(), count, bytes.data() + 1);  // unaligned on purpose
      info.decode(bytes.data() + 1, count, back.data());
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_LE(std::abs(values[i] - back[i]), 0.5 * relative_step(info.format) * std::abs(values[i]) + 1e-7)
            << info.name;
      }
    }
  }
}

}  // namespace
}  // namespace lapidary
