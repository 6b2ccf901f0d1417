#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model/model.h"
#include "ops/reference/reference_ops.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// A copy of a tiny golden model whose files a test may spoil.
class BindWeights : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / "lapidary_bind_weights_test";
    fs::remove_all(folder_);
    fs::copy(fs::path(LAPIDARY_SOURCE_DIR) / "tests/golden/models/unified-a", folder_, fs::copy_options::recursive);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Replaces text of the same length in a file.
  void spoil(const std::string& file, const std::string& from, const std::string& to) {
    ASSERT_EQ(from.size(), to.size());
    std::ifstream in(folder_ / file, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    std::ofstream(folder_ / file, std::ios::binary) << text;
  }
  std::string open_message() {
    auto ops = make_reference_ops({});
    const auto model = Model::open(folder_, std::move(*ops), {.rows_max = 8});
    return model ? "opened" : model.error().message;
  }

  fs::path folder_;
};

TEST_F(BindWeights, OpensTheTinyModel) { EXPECT_EQ(open_message(), "opened"); }

TEST_F(BindWeights, ListsEveryTensorThatDoesNotFit) {
  spoil("config.json", "\"intermediate_size\": 80", "\"intermediate_size\": 81");
  const std::string message = open_message();
  EXPECT_THAT(message, HasSubstr("18 tensors do not fit config.json"));
  EXPECT_THAT(message, HasSubstr("layers.0.mlp.gate_proj.weight is [80, 64], expected [81, 64]"));
  EXPECT_THAT(message, HasSubstr("and 12 more"));
}

TEST_F(BindWeights, NamesAMissingTensor) {
  spoil("model.safetensors", "layers.1.self_attn.q_norm.weight", "layers.1.self_attn.q_norn.weight");
  EXPECT_THAT(open_message(), HasSubstr("layers.1.self_attn.q_norm.weight is missing, expected [16]"));
}

TEST_F(BindWeights, RefusesATruncatedFile) {
  fs::resize_file(folder_ / "model.safetensors", fs::file_size(folder_ / "model.safetensors") - 1);
  EXPECT_THAT(open_message(), HasSubstr("is it cut off?"));
}

}  // namespace
}  // namespace lapidary
