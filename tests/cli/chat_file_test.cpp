#include "cli/chat_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace lapidary::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Json json_of(const std::string& text) { return parse_json(text, "test").value(); }

SavedChat talk() {
  SavedChat chat;
  chat.messages.push_back(text_message(Role::kSystem, "Be brief."));
  Message user;
  user.form = ContentForm::kParts;
  user.parts = {{PartKind::kImage, "", 0}, {PartKind::kAudio, "", 1}, {PartKind::kText, "What \"is\" it?\n"}};
  chat.messages.push_back(user);
  Message caller = text_message(Role::kAssistant, "");
  caller.parts.clear();
  caller.reasoning = "I should ask.";
  caller.tool_calls = {{"call_1", "weather", {{"city", "Zürich"}, {"days", 3}}}, {"call_2", "now", Json::object()}};
  chat.messages.push_back(caller);
  Message result = text_message(Role::kTool, "20");
  result.tool_call_id = "call_1";
  result.name = "weather";
  chat.messages.push_back(result);
  Message nothing;
  nothing.role = Role::kTool;
  nothing.form = ContentForm::kScalar;
  nothing.tool_call_id = "call_2";
  chat.messages.push_back(nothing);
  chat.messages.push_back(text_message(Role::kAssistant, "Warm."));
  chat.media = {{"a cat.jpg", PartKind::kImage}, {"b.wav", PartKind::kAudio}};
  chat.tools = json_of(R"([{"type": "function", "function": {"name": "weather"}}])");
  chat.thinking = true;
  return chat;
}

TEST(ChatFile, WhatIsSavedIsLoaded) {
  const SavedChat chat = talk();
  const Json document = chat_json(chat);
  const auto loaded = parse_chat(document, "talk.json");
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(dump_json(chat_json(*loaded)), dump_json(document));
  ASSERT_EQ(loaded->messages.size(), chat.messages.size());
  EXPECT_EQ(loaded->messages[1].parts.size(), 3u);
  EXPECT_EQ(loaded->messages[1].form, ContentForm::kParts);
  EXPECT_EQ(loaded->media[1].kind, PartKind::kAudio);
  EXPECT_EQ(loaded->messages[2].reasoning, "I should ask.");
  EXPECT_EQ(loaded->messages[2].tool_calls[0].arguments["city"], "Zürich");
  EXPECT_EQ(loaded->messages[3].tool_call_id, "call_1");
  EXPECT_EQ(loaded->messages[4].form, ContentForm::kScalar);
  EXPECT_TRUE(loaded->messages[4].scalar.is_null());
  EXPECT_TRUE(loaded->thinking);
}

TEST(ChatFile, ThroughAFile) {
  const std::string path = (std::filesystem::temp_directory_path() / "lapidary_chat_file_test.json").string();
  ASSERT_TRUE(write_chat(talk(), path));
  const auto loaded = read_chat(path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(dump_json(chat_json(*loaded)), dump_json(chat_json(talk())));
  std::filesystem::remove(path);
  EXPECT_THAT(read_chat(path).error().message, HasSubstr(path));
  EXPECT_FALSE(write_chat(talk(), "/no/such/folder/talk.json"));
}

TEST(ChatFile, HistoriesFromElsewhere) {
  const auto loaded = parse_chat(json_of(R"({"messages": [
      {"role": "user", "content": "Weather?", "media": ["x.png"]},
      {"role": "assistant", "content": null, "tool_calls": [
          {"id": "7", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Paris\"}"}}]},
      {"role": "tool", "tool_call_id": "7", "content": "18"}]})"),
                                 "api.json");
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->messages[1].tool_calls[0].arguments["city"], "Paris");
  EXPECT_EQ(loaded->messages[1].tool_calls[0].id, "7");
  EXPECT_FALSE(loaded->media[0].kind.has_value());
}

TEST(ChatFile, WhatIsWrongIsNamed) {
  const auto message = [](const std::string& text) {
    const auto chat = parse_chat(json_of(text), "x.json");
    EXPECT_FALSE(chat) << text;
    return chat ? "" : chat.error().message;
  };
  EXPECT_THAT(message("[]"), AllOf(HasSubstr("x.json"), HasSubstr("messages")));
  EXPECT_THAT(message(R"({"messages": 5})"), AllOf(HasSubstr("/messages"), HasSubstr("found 5")));
  EXPECT_THAT(message(R"({"messages": [{"role": "judge"}]})"),
              AllOf(HasSubstr("/messages/0/role"), HasSubstr("judge")));
  EXPECT_THAT(message(R"({"messages": [{"role": "user", "content": [1]}]})"), HasSubstr("/messages/0/content"));
  EXPECT_THAT(message(R"({"messages": [{"role": "user", "media": ["a"], "media_kinds": []}]})"),
              HasSubstr("media_kinds"));
  EXPECT_THAT(message(R"({"messages": [{"role": "user", "media": ["a"], "media_kinds": ["smell"]}]})"),
              HasSubstr("smell"));
  EXPECT_THAT(message(R"({"messages": [{"role": "assistant", "tool_calls": [{"arguments": {}}]}]})"),
              HasSubstr("/messages/0/tool_calls/0/name"));
  EXPECT_THAT(message(R"({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "["}]}]})"),
              HasSubstr("arguments"));
  EXPECT_THAT(message(R"({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": [1]}]}]})"),
              HasSubstr("an object"));
  EXPECT_THAT(message(R"({"messages": [], "tools": [{"function": {}}]})"), HasSubstr("x.json: /tools"));
  EXPECT_THAT(message(R"({"messages": [], "thinking": 1})"), HasSubstr("/thinking"));
  Json many = {{"messages", Json::array({{{"role", "user"}, {"media", Json::array()}}})}};
  for (int i = 0; i < 65; ++i) many["messages"][0]["media"].push_back("a.png");
  EXPECT_THAT(message(dump_json(many)), HasSubstr("at most 64 media"));
}

}  // namespace
}  // namespace lapidary::cli
