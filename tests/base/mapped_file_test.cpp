#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace lapidary {
namespace {

using ::testing::HasSubstr;

TEST(MappedFile, ReadsMovesAndRefuses) {
  const std::filesystem::path folder = ::testing::TempDir();
  const std::filesystem::path path = folder / "lapidary_mapped_file_test";
  std::ofstream(path) << "hello";
  auto file = MappedFile::open(path);
  ASSERT_TRUE(file);
  const MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.bytes().size(), 5u);
  EXPECT_EQ(static_cast<char>(moved.bytes()[4]), 'o');
  EXPECT_EQ(*read_file(path, 5), "hello");
  EXPECT_THAT(read_file(path, 4).error().message, HasSubstr("expected at most 4 bytes, found 5"));
  EXPECT_EQ(MappedFile::open(folder / "no-such-file").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(MappedFile::open(folder).error().message, HasSubstr("found a directory"));
  std::ofstream empty(path, std::ios::trunc);
  empty.close();
  EXPECT_TRUE(MappedFile::open(path)->bytes().empty());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace lapidary
