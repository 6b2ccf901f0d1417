// A copy of a tiny golden model whose files a test may change.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "model/model.h"
#include "ops/reference/reference_ops.h"

namespace lapidary::testing {

class ModelCopy : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void use(const std::string& name) {
    const std::string suite = ::testing::UnitTest::GetInstance()->current_test_info()->test_suite_name();
    folder_ = std::filesystem::path(::testing::TempDir()) / ("lapidary_" + suite + "_test");
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/models" / name, folder_,
                          std::filesystem::copy_options::recursive);
  }
  // Everywhere in a file; in a safetensors header `to` must be as long as `from`.
  void replace(const std::string& file, const std::string& from, const std::string& to) {
    std::ifstream in(folder_ / file, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    for (; at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
    std::ofstream(folder_ / file, std::ios::binary) << text;
  }
  Result<std::unique_ptr<Model>> open() {
    return Model::open(folder_, std::move(*make_reference_ops({})), {.rows_max = 8});
  }
  std::string message() {
    const auto model = open();
    return model ? "opened" : model.error().message;
  }

  std::filesystem::path folder_;
};

}  // namespace lapidary::testing
