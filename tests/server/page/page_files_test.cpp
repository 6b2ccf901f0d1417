// The page as the program carries it: the bytes of the tree, nothing missing, nothing from elsewhere.
#include "server/page/page_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace lapidary::server {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(PageFiles, AreTheFilesOfTheTree) {
  const fs::path tree = LAPIDARY_SOURCE_DIR;
  std::set<std::string_view> names, etags;
  for (const PageFile& file : page_files()) {
    const fs::path own = tree / "src/server/page" / file.name;
    EXPECT_EQ(file.bytes, bytes_of(fs::exists(own) ? own : tree / "examples" / file.name)) << file.name;
    EXPECT_TRUE(names.insert(file.name).second) << file.name;
    EXPECT_TRUE(etags.insert(file.etag).second) << file.name;
    EXPECT_TRUE(std::regex_match(std::string(file.etag), std::regex("\"[0-9a-f]{32}\""))) << file.etag;
  }
  for (const auto& entry : fs::directory_iterator(tree / "src/server/page")) {
    const std::string extension = entry.path().extension();
    if (extension == ".js" || extension == ".css" || extension == ".html" || extension == ".svg") {
      EXPECT_EQ(names.count(entry.path().filename().string()), 1u) << entry.path() << " is not carried";
    }
  }
}

TEST(PageFiles, AreFoundByTheirExactName) {
  ASSERT_NE(find_page_file("index.html"), nullptr);
  EXPECT_EQ(find_page_file("index.html")->content_type, "text/html; charset=utf-8");
  EXPECT_EQ(find_page_file("app.js")->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(find_page_file("recording.wav")->content_type, "audio/wav");
  for (const char* name : {"", "/", "INDEX.HTML", "../index.html", "index.html/", "nothing.js"})
    EXPECT_EQ(find_page_file(name), nullptr) << name;
}

TEST(PageFiles, ReferToNothingThatIsNotThere) {
  // "/page/NAME" anywhere, and import {...} from "./NAME" in scripts.
  const std::regex reference(R"re((?:/page/|from "\./)([a-z_]+\.[a-z0-9]+))re");
  for (const PageFile& file : page_files()) {
    if (!file.content_type.starts_with("text/")) continue;
    const std::string text(file.bytes);
    for (std::sregex_iterator it(text.begin(), text.end(), reference), end; it != end; ++it)
      EXPECT_NE(find_page_file((*it)[1].str()), nullptr) << file.name << " refers to " << (*it)[1];
  }
}

// Its policy is default-src 'none': inline code and styles would not run, and nothing may come from another host.
TEST(PageFiles, NeedNothingThatThePolicyForbids) {
  const std::regex forbidden(
      R"re(innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|<style|<script>| style=|@import)re");
  for (const PageFile& file : page_files()) {
    if (!file.content_type.starts_with("text/")) continue;
    std::smatch match;
    const std::string text(file.bytes);
    EXPECT_FALSE(std::regex_search(text, match, forbidden)) << file.name << ": " << match.str();
  }
}

}  // namespace
}  // namespace lapidary::server
