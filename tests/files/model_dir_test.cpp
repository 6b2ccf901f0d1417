#include "files/model_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "files/safetensors_bytes.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;
using testing::safetensors_bytes;

class ModelDirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / "lapidary_model_dir_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  static std::string tensor(const std::string& name) {
    return safetensors_bytes("{\"" + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x");
  }
  std::string message() {
    const auto dir = open_model_dir(folder_);
    return dir ? "opened" : dir.error().message;
  }
  std::filesystem::path folder_;
};

TEST_F(ModelDirTest, OpensShardsThroughTheIndex) {
  write("config.json", "{}");
  write("one.safetensors", tensor("a"));
  write("two.safetensors", tensor("b"));
  write("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const auto dir = open_model_dir(folder_);
  ASSERT_TRUE(dir) << dir.error().message;
  EXPECT_NE(dir->weights.find("a"), nullptr);
  EXPECT_NE(dir->weights.find("b"), nullptr);
  EXPECT_EQ(dir->weights.bytes(), 2);
  EXPECT_FALSE(dir->generation_config.has_value());
}

TEST_F(ModelDirTest, SaysWhatIsMissing) {
  EXPECT_THAT(open_model_dir(folder_ / "nowhere").error().message, HasSubstr("no such file or directory"));
  EXPECT_THAT(message(), HasSubstr("config.json"));
  write("config.json", "{");
  EXPECT_THAT(message(), HasSubstr("not valid JSON"));
  write("config.json", "{}");
  EXPECT_THAT(message(), HasSubstr("neither model.safetensors nor"));
  write("model.safetensors", "short");
  EXPECT_THAT(message(), HasSubstr("found 5 bytes"));
  write("model.safetensors.index.json", R"({"weight_map":{"a":"../one.safetensors"}})");
  EXPECT_THAT(message(), HasSubstr("expected a file name"));
  write("one.safetensors", tensor("b"));
  write("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors"}})");
  EXPECT_THAT(message(), HasSubstr("should hold tensor a"));
}

}  // namespace
}  // namespace lapidary
