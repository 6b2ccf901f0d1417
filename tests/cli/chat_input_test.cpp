#include "cli/chat_input.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

namespace lapidary::cli {
namespace {

std::vector<std::string> messages_of(const std::string& typed) {
  std::istringstream in(typed);
  ChatInput input(in);
  std::vector<std::string> messages;
  while (auto message = input.message()) messages.push_back(*message);
  EXPECT_TRUE(input.ended());
  return messages;
}

using Messages = std::vector<std::string>;

TEST(ChatInput, ALineIsAMessage) {
  EXPECT_EQ(messages_of("one\n\ntwo"), (Messages{"one", "", "two"}));
  EXPECT_EQ(messages_of(""), Messages{});
}

TEST(ChatInput, ABackslashGoesOn) {
  EXPECT_EQ(messages_of("one\\\ntwo \\\nthree\nfour\n"), (Messages{"one\ntwo \nthree", "four"}));
  EXPECT_EQ(messages_of("one\\"), Messages{"one\\"});  // nothing came
}

TEST(ChatInput, ABlockKeepsItsLines) {
  EXPECT_EQ(messages_of("\"\"\"\na\n\n  b\\\n\"\"\"\nnext\n"), (Messages{"a\n\n  b\\", "next"}));
  EXPECT_EQ(messages_of("\"\"\"a\nb\"\"\"\n"), Messages{"a\nb"});
  EXPECT_EQ(messages_of("\"\"\"one line\"\"\"\n"), Messages{"one line"});
  EXPECT_EQ(messages_of("\"\"\"\"\"\"\n"), Messages{""});
  EXPECT_EQ(messages_of("\"\"\"\n/not a command\n\"\"\"\n"), Messages{"/not a command"});
  EXPECT_EQ(messages_of("\"\"\"\nnever closed\n"), Messages{});
}

TEST(ChatInput, QuestionsTakeOneLine) {
  std::istringstream in("first\n20 degrees\\\nnext\n");
  ChatInput input(in);
  EXPECT_EQ(input.message(), "first");
  EXPECT_EQ(input.line("?"), "20 degrees\\");
  EXPECT_EQ(input.message(), "next");
  EXPECT_EQ(input.line("?"), std::nullopt);
  EXPECT_TRUE(input.ended());
}

}  // namespace
}  // namespace lapidary::cli
