#include "files/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "files/safetensors_bytes.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;
using testing::safetensors_bytes;

Result<std::vector<TensorEntry>> parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file.data(), file.size())), "x.safetensors");
}

const char kTwo[] =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}})";

TEST(Safetensors, ReadsNamesShapesAndBytes) {
  const std::string file = safetensors_bytes(kTwo, "0123456789ab");
  const auto tensors = parse(file);
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 2u);
  const TensorEntry& a = (*tensors)[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.format, Format::kBF16);
  EXPECT_EQ(a.shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(static_cast<char>((*tensors)[1].bytes[0]), '4');
}

TEST(Safetensors, RefusesEveryTruncation) {
  const std::string file = safetensors_bytes(kTwo, "0123456789ab");
  for (size_t cut = 0; cut < file.size(); ++cut) EXPECT_FALSE(parse(file.substr(0, cut))) << cut;
  EXPECT_FALSE(parse(file + "x"));
}

TEST(Safetensors, SaysWhatIsWrong) {
  const auto message = [](const std::string& header, const std::string& data) {
    const auto result = parse(safetensors_bytes(header, data));
    return result ? std::string("accepted") : result.error().message;
  };
  EXPECT_THAT(message(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "01234567"),
              HasSubstr("F32 [3] needs 12 bytes, data_offsets hold 8"));
  EXPECT_THAT(message(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "0123"),
              HasSubstr("outside the 4 bytes"));
  EXPECT_THAT(message(R"({"a":{"dtype":"Q","shape":[2],"data_offsets":[0,8]}})", "01234567"),
              HasSubstr("unknown dtype Q"));
  EXPECT_THAT(message(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", "01234567"),
              HasSubstr("shape too large"));
  EXPECT_THAT(message(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", "01234567"),
              HasSubstr("whole numbers"));
  EXPECT_THAT(
      message(
          R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
          "01234567"),
      HasSubstr("expected 8"));
  EXPECT_THAT(message(R"([1])", ""), HasSubstr("expected a JSON object"));
}

}  // namespace
}  // namespace lapidary
