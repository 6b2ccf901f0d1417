#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "model/model_copy.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class BindWeights : public testing::ModelCopy {
 protected:
  void SetUp() override { use("unified-a"); }
};

TEST_F(BindWeights, OpensTheTinyModel) { EXPECT_EQ(message(), "opened"); }

TEST_F(BindWeights, ListsEveryTensorThatDoesNotFit) {
  replace("config.json", "\"intermediate_size\": 80", "\"intermediate_size\": 81");
  const std::string found = message();
  EXPECT_THAT(found, HasSubstr("18 tensors do not fit config.json"));
  EXPECT_THAT(found, HasSubstr("layers.0.mlp.gate_proj.weight is [80, 64], expected [81, 64]"));
  EXPECT_THAT(found, HasSubstr("and 12 more"));
}

TEST_F(BindWeights, NamesAMissingTensor) {
  replace("model.safetensors", "layers.1.self_attn.q_norm.weight", "layers.1.self_attn.q_norn.weight");
  EXPECT_THAT(message(), HasSubstr("layers.1.self_attn.q_norm.weight is missing, expected [16]"));
}

TEST_F(BindWeights, RefusesATruncatedFile) {
  fs::resize_file(folder_ / "model.safetensors", fs::file_size(folder_ / "model.safetensors") - 1);
  EXPECT_THAT(message(), HasSubstr("is it cut off?"));
}

}  // namespace
}  // namespace lapidary
