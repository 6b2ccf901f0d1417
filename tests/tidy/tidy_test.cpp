// The tree is checked like code: include edges against the rooms' link lines, files that nobody builds or includes.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace lapidary {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = fs::path(LAPIDARY_SOURCE_DIR) / "src";

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Room {
  std::set<std::string> uses, sources;
};

// lapidary_room(NAME SOURCES a.cpp ... USES room ... LIBS ...) in src/<NAME>/CMakeLists.txt
std::map<std::string, Room> rooms() {
  std::map<std::string, Room> found;
  for (const auto& entry : fs::recursive_directory_iterator(kSource)) {
    if (entry.path().filename() != "CMakeLists.txt") continue;
    const std::string text = text_of(entry.path());
    const std::regex call(R"(lapidary_room\(([^)]*)\))");
    for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it) {
      std::istringstream words((*it)[1]);
      std::string name, word, section;
      words >> name;
      Room& room = found[name];
      while (words >> word) {
        if (word == "SOURCES" || word == "USES" || word == "LIBS") {
          section = word;
        } else if (section == "USES") {
          room.uses.insert(word);
        } else if (section == "SOURCES") {
          room.sources.insert(word);
        }
      }
    }
  }
  return found;
}

// "ops/cpu" for "ops/cpu/kernels.h", "ops" for "ops/ops.h".
std::string room_of(const std::string& path, const std::map<std::string, Room>& known) {
  std::string best;
  for (const auto& [name, room] : known) {
    if (path.rfind(name + "/", 0) == 0 && name.size() > best.size()) best = name;
  }
  return best;
}

struct Include {
  std::string from, to;  // paths below src/
};

std::vector<Include> includes() {
  std::vector<Include> all;
  const std::regex line(R"re(^\s*#\s*include\s+"([^"]+)")re");
  for (const auto& entry : fs::recursive_directory_iterator(kSource)) {
    const std::string extension = entry.path().extension();
    if (extension != ".h" && extension != ".cpp") continue;
    std::ifstream in(entry.path());
    std::string text;
    std::smatch match;
    while (std::getline(in, text)) {
      if (std::regex_search(text, match, line)) all.push_back({fs::relative(entry.path(), kSource).string(), match[1]});
    }
  }
  return all;
}

TEST(Tree, IncludesFollowTheLinkLines) {
  const auto known = rooms();
  ASSERT_GE(known.size(), 8u);
  for (const Include& include : includes()) {
    EXPECT_TRUE(fs::exists(kSource / include.to))
        << include.from << " includes " << include.to << ": write the path from src/";
    const std::string from = room_of(include.from, known), to = room_of(include.to, known);
    if (from == to) continue;
    EXPECT_TRUE(known.at(from).uses.count(to) == 1)
        << include.from << " includes " << include.to << ", but room " << from << " does not list " << to;
  }
}

TEST(Tree, LinkLinesHoldOnlyWhatIsIncluded) {
  const auto known = rooms();
  std::map<std::string, std::set<std::string>> used;
  for (const Include& include : includes()) used[room_of(include.from, known)].insert(room_of(include.to, known));
  for (const auto& [name, room] : known) {
    for (const std::string& other : room.uses)
      EXPECT_TRUE(used[name].count(other) == 1)
          << "room " << name << " lists " << other << " and includes nothing of it";
  }
}

TEST(Tree, EveryFileIsBuiltOrIncluded) {
  const auto known = rooms();
  std::set<std::string> wanted;
  for (const Include& include : includes()) wanted.insert(include.to);
  for (const auto& [name, room] : known) {
    for (const std::string& source : room.sources) wanted.insert(name + "/" + source);
  }
  for (const auto& entry : fs::recursive_directory_iterator(kSource)) {
    const std::string extension = entry.path().extension();
    if (extension != ".h" && extension != ".cpp") continue;
    const std::string path = fs::relative(entry.path(), kSource).string();
    if (path == "cli/main.cpp") continue;
    EXPECT_TRUE(wanted.count(path) == 1) << path << " is neither built nor included";
  }
}

TEST(Tree, HeadersAreGuarded) {
  for (const auto& entry : fs::recursive_directory_iterator(kSource)) {
    if (entry.path().extension() != ".h") continue;
    const std::string text = text_of(entry.path());
    // Code shared by CPU levels is included once for each, inside its namespace, and says so at its head.
    if (entry.path().filename().string().find("-inl.h") != std::string::npos ||
        text.substr(0, 400).find("ncluded inside a namespace") != std::string::npos)
      continue;
    EXPECT_NE(text.find("#pragma once"), std::string::npos) << entry.path();
  }
}

// All text of the tree's files with this extension below folder.
std::string text_below(const fs::path& folder, const std::string& extension) {
  std::string all;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(LAPIDARY_SOURCE_DIR) / folder)) {
    if (entry.path().extension() == extension) all += text_of(entry.path());
  }
  return all;
}

// docs/traps.md says in the last column of its tables what goes red: `Suite.Test`, or a function of a script or an
// end-to-end test.
TEST(Docs, EveryTrapNamesTestsThatExist) {
  const std::string tests = text_below("tests", ".cpp");
  const std::string functions = text_below("scripts/golden", ".py") + text_below("tests/e2e", ".py");
  std::istringstream lines(text_of(fs::path(LAPIDARY_SOURCE_DIR) / "docs/traps.md"));
  const std::regex quoted("`(?:([A-Za-z0-9]+)\\.)?([A-Za-z0-9_]+)`");
  std::string line;
  int named = 0;
  while (std::getline(lines, line)) {
    if (line.rfind("| ", 0) != 0) continue;
    const std::string cell = line.substr(line.rfind(" | ") + 3);
    for (std::sregex_iterator it(cell.begin(), cell.end(), quoted), end; it != end; ++it) {
      const std::string suite = (*it)[1], name = (*it)[2];
      ++named;
      if (suite.empty()) {
        EXPECT_NE(functions.find("def " + name + "("), std::string::npos) << "docs/traps.md: no function " << name;
      } else {
        EXPECT_NE(tests.find("(" + suite + ", " + name + ")"), std::string::npos)
            << "docs/traps.md: no test " << suite << "." << name;
      }
    }
  }
  EXPECT_GE(named, 150);
}

}  // namespace
}  // namespace lapidary
