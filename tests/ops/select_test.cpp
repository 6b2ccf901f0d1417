#include "ops/select/select.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(Select, BackendsByName) {
  for (const char* device : {"auto", "cpu", "reference"}) {
    auto ops = make_ops(device, {.threads = 1});
    ASSERT_TRUE(ops.has_value()) << device;
    const bool exact = std::string_view(device) == "reference";
    EXPECT_EQ((*ops)->activation_type(), exact ? DType::kF64 : DType::kF32);
  }
  auto cuda = make_ops("cuda", {});
  ASSERT_FALSE(cuda.has_value());
  EXPECT_EQ(cuda.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(cuda.error().message.find("built without CUDA"), std::string::npos);
  auto unknown = make_ops("tpu", {});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
}

TEST(Select, ReadBandwidthIsAPlausibleRate) {
  const double rate = measured_read_bandwidth(1);
  EXPECT_GT(rate, 1e8);
  EXPECT_LT(rate, 1e13);
}

}  // namespace
}  // namespace lapidary
