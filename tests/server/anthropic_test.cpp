// The Anthropic surface: what its requests are read as, and what its clients are told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "answer_delta.h"
#include "demo_service.h"
#include "fake_exchange.h"
#include "server/anthropic_content.h"
#include "server/anthropic_messages.h"
#include "server/anthropic_writer.h"
#include "server/prepare.h"

namespace lapidary::server {
namespace {

using testing::delta;
using testing::demo_service;
using testing::fake_call;
using testing::FakeExchange;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Kind = AnswerDelta::Kind;

Json json(std::string_view text) { return parse_json(text, "test").value(); }

// A request with one user message of these blocks, or these messages.
Json body_of(Json messages) {
  if (messages.is_string() || (messages.is_array() && !messages.empty() && messages[0].contains("type")))
    messages = Json::array({{{"role", "user"}, {"content", messages}}});
  return {{"model", "claude-sonnet-4-5"}, {"max_tokens", 100}, {"messages", std::move(messages)}};
}

ApiResult<ChatRequest> read(const Json& body) {
  MessagesStyle style;
  return read_messages_request(demo_service(), body, false, style);
}

ChatRequest good(const Json& body) {
  ApiResult<ChatRequest> request = read(body);
  if (!request) ADD_FAILURE() << request.error().message;
  return request ? *request : ChatRequest{};
}

std::string error_of(const Json& body) {
  const ApiResult<ChatRequest> request = read(body);
  return request ? "no error" : request.error().message;
}

std::string prompt_of(const ChatRequest& request) { return prompt_text(request.conversation); }

TEST(AnthropicRequest, NeedsMessagesAndALimit) {
  Json body = body_of("Hi");
  EXPECT_EQ(good(body).tokens_max, 100);
  body["max_tokens"] = 100'000;
  EXPECT_EQ(good(body).tokens_max, 100'000);
  body["max_tokens"] = 0;
  EXPECT_THAT(error_of(body), HasSubstr("max_tokens: expected at least 1, found 0"));
  body.erase("max_tokens");
  EXPECT_THAT(error_of(body), HasSubstr("max_tokens"));
  MessagesStyle style;
  EXPECT_TRUE(read_messages_request(demo_service(), body, true, style));
  EXPECT_THAT(error_of(body_of(Json::array())), HasSubstr("at least one"));
  EXPECT_THAT(error_of(body_of(json(R"([{"role": "tool", "content": "x"}])"))), HasSubstr("messages[0].role"));
  EXPECT_THAT(error_of(body_of(json(R"([{"role": "user"}])"))), HasSubstr("messages[0].content"));
}

TEST(AnthropicRequest, SystemTextLosesItsBillingLine) {
  Json body = body_of("Hi");
  body["system"] = json(R"([{"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1a2b;"},
                            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                            {"type": "text", "text": "x-anthropic-billing-header: cch=9\nBe kind."}])");
  const ChatRequest request = good(body);
  EXPECT_EQ(text_of(request.conversation.messages[0]), "Be brief.\n\nBe kind.");
  EXPECT_EQ(without_billing_header("a\n\nb\n"), "a\n\nb\n");
  EXPECT_EQ(without_billing_header("x-anthropic-billing-header: z"), "");
}

TEST(AnthropicRequest, ResultsStandInTheOrderOfTheirCallsAndTextLast) {
  const ChatRequest request = good(body_of(json(R"([
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": [
      {"type": "text", "text": "Let me look."},
      {"type": "tool_use", "id": "toolu_1", "name": "first", "input": {"city": "Paris"}},
      {"type": "tool_use", "id": "toolu_2", "name": "second", "input": {}}]},
    {"role": "user", "content": [
      {"type": "text", "text": "Quick!"},
      {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true, "content": [{"type": "text", "text": "no"}]},
      {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"}]}])")));
  const std::string prompt = prompt_of(request);
  const size_t said = prompt.find("Let me look."), call = prompt.find("call:first"),
               first = prompt.find("response:first"), second = prompt.find("response:second"),
               text = prompt.find("Quick!");
  ASSERT_NE(text, std::string::npos) << prompt;
  EXPECT_LT(said, call);
  EXPECT_LT(call, first);
  EXPECT_LT(first, second);
  EXPECT_LT(second, text);
  EXPECT_THAT(prompt, HasSubstr("Error: no"));
}

TEST(AnthropicRequest, AResultWithoutItsCallIsTheUsers) {
  const ChatRequest request =
      good(body_of(json(R"([{"type": "tool_result", "tool_use_id": "toolu_gone", "content": "42"}])")));
  ASSERT_EQ(request.conversation.messages.size(), 1u);
  EXPECT_EQ(request.conversation.messages[0].role, Role::kUser);
  EXPECT_THAT(prompt_of(request), HasSubstr("42"));
}

// The prompt of each turn begins with that of the turn before, whatever is said in between.
TEST(AnthropicRequest, SystemMessagesBetweenTurnsKeepThePrefix) {
  const Json all = json(R"([
    {"role": "user", "content": "Weather?"},
    {"role": "system", "content": "Today is Monday."},
    {"role": "assistant", "content": [{"type": "text", "text": "Looking."},
      {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"city": "Paris"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"}]},
    {"role": "system", "content": "Tokens left: 5."},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_2", "content": "rain"}]},
    {"role": "assistant", "content": "Sun, then rain."},
    {"role": "ctx", "content": "A note."},
    {"role": "msg", "content": "Thanks."}])");
  std::string before;
  for (const size_t turn : {2u, 5u, 7u, 10u}) {
    Json messages(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(turn));
    ChatRequest request = good(body_of(std::move(messages)));
    request.conversation.style = PromptStyle::kSmall;
    const std::string prompt = prompt_of(request);
    EXPECT_THAT(prompt, StartsWith(before));
    EXPECT_THAT(prompt, Not(HasSubstr("<|turn>system")));
    before = prompt;
  }
  EXPECT_THAT(before, HasSubstr("Tokens left: 5."));
}

TEST(AnthropicRequest, TakesWhatHistoriesHold) {
  const ChatRequest request = good(body_of(json(R"([
    {"role": "user", "content": "A"},
    {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "hm", "signature": "of somebody else"},
      {"type": "redacted_thinking", "data": "AAAA"},
      {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
      {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
       "content": [{"type": "web_search_result", "title": "T", "url": "http://u", "encrypted_content": "zzz"}]},
      {"type": "brand_new_block"}]},
    {"role": "user", "content": [
      {"type": "document", "title": "Report", "source": {"type": "text", "media_type": "text/plain", "data": "Body."}},
      {"type": "search_result", "source": "S", "title": "T", "content": [{"type": "text", "text": "found"}]},
      {"type": "container_upload", "file_id": "f"}]}])")));
  const std::string prompt = prompt_of(request);
  EXPECT_THAT(prompt, HasSubstr("web_search({\"query\":\"x\"})"));
  EXPECT_THAT(prompt, HasSubstr("T\nhttp://u"));
  EXPECT_THAT(prompt, Not(HasSubstr("zzz")));
  EXPECT_THAT(prompt, HasSubstr("Report\nBody."));
  EXPECT_THAT(prompt, HasSubstr("T (S)\nfound"));
  EXPECT_EQ(request.conversation.messages[1].reasoning, "hm");
}

TEST(AnthropicRequest, MediaComeAsBlocks) {
  const ChatRequest request = good(body_of(json(R"([
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    {"type": "audio", "source": {"type": "base64", "media_type": "audio/wav", "data": "BBBB"}},
    {"type": "video", "source": {"type": "url", "url": "http://x/v.mp4"}},
    {"type": "text", "text": "What?"}])")));
  ASSERT_EQ(request.media.size(), 3u);
  EXPECT_EQ(request.media[0].kind, PartKind::kImage);
  EXPECT_TRUE(request.media[0].allow_base64);
  EXPECT_EQ(request.media[1].kind, PartKind::kAudio);
  EXPECT_EQ(request.media[2].kind, PartKind::kVideo);
  EXPECT_FALSE(request.media[2].allow_base64);
  EXPECT_EQ(request.media[2].param, "messages[0].content[2].source.url");
  const auto file = read(body_of(json(R"([{"type": "image", "source": {"type": "file", "file_id": "f"}}])")));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().kind, ErrorKind::kNotFound);
  EXPECT_THAT(error_of(body_of(json(R"([{"type": "document", "source":
      {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjcKCg=="}}])"))),
              HasSubstr("only documents of text"));
}

TEST(AnthropicRequest, ToolsAndTheirChoice) {
  Json body = body_of("Hi");
  body["tools"] = json(R"([
    {"name": "get_weather", "description": "d", "input_schema": {"properties": {"city": {"type": "string"}}}},
    {"type": "web_search_20250305", "name": "web_search"},
    {"type": "bash_20250124", "name": "bash"},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
    {"type": "custom", "name": "mcp__srv__do.thing", "input_schema": {"type": "object"}}])");
  body["tool_choice"] = {{"type", "tool"}, {"name", "get_weather"}, {"disable_parallel_tool_use", true}};
  const ChatRequest request = good(body);
  ASSERT_EQ(request.conversation.tools.size(), 4u);
  EXPECT_EQ(request.conversation.tools[0]["function"]["parameters"]["type"], "object");
  EXPECT_EQ(request.conversation.tools[1]["function"]["name"], "bash");
  EXPECT_EQ(request.tool_choice.use, ToolUse::kRequired);
  EXPECT_THAT(request.tool_choice.names, ::testing::ElementsAre("get_weather"));
  EXPECT_FALSE(request.tool_choice.parallel);
  body["tool_choice"] = {{"type", "tool"}};
  EXPECT_THAT(error_of(body), HasSubstr("tool_choice.name"));
  body["tool_choice"] = {{"type", "tool"}, {"name", "web_search"}};
  EXPECT_THAT(error_of(body), HasSubstr("not among the declared tools"));
  body["tool_choice"] = {{"type", "none"}};
  EXPECT_EQ(good(body).tool_choice.use, ToolUse::kNone);
  body["tool_choice"] = {{"type", "any"}};
  EXPECT_EQ(good(body).tool_choice.use, ToolUse::kRequired);
  body.erase("tools");
  EXPECT_THAT(error_of(body), HasSubstr("none are declared"));
}

TEST(AnthropicRequest, ThinkingFormatStopAndPrefill) {
  Json body = body_of(json(R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])"));
  body["thinking"] = {{"type", "enabled"}, {"budget_tokens", 2048}};
  body["output_config"] = json(R"({"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}})");
  body["stop_sequences"] = {"", "END"};
  body["temperature"] = 0.5;
  ChatRequest request = good(body);
  EXPECT_TRUE(request.continues_reply);
  EXPECT_TRUE(request.conversation.thinking);
  EXPECT_EQ(request.thinking_budget, 2048);
  EXPECT_EQ(request.format.kind, AnswerFormat::Kind::kSchema);
  EXPECT_THAT(request.stop, ::testing::ElementsAre("END"));
  body["thinking"] = {{"type", "adaptive"}};
  EXPECT_EQ(good(body).thinking_budget, 1024);
  body["thinking"] = {{"type", "disabled"}};
  EXPECT_FALSE(good(body).conversation.thinking);
  body["thinking"] = {{"type", "sometimes"}};
  EXPECT_THAT(error_of(body), HasSubstr("thinking.type"));
  body["thinking"] = nullptr;
  body["temperature"] = 2.5;
  EXPECT_THAT(error_of(body), HasSubstr("temperature"));
}

AnswerResult everything() {
  AnswerResult result;
  ChoiceResult choice;
  choice.thought = "Let me see.";
  choice.text = "Looking.";
  choice.calls = {{"call_0", {"call_0", "weather", {{"city", "Paris"}}}, R"({"city":"Paris"})", true},
                  {"call_1", {"call_1", "time", Json::object()}, "{}", true}};
  choice.end = AnswerEnd::kStop;
  choice.thought_tokens = 4;
  choice.usage = {100, 20, 0, 0, 0, 96};
  result.choices.push_back(std::move(choice));
  return result;
}

std::shared_ptr<FakeExchange> stream_everything(MessagesWriterOptions options) {
  auto exchange = std::make_shared<FakeExchange>();
  Call call = fake_call(exchange);
  call.surface = Surface::kAnthropic;
  call.headers = {{"request-id", "req_1"}};
  options.style.stream = true;
  const auto writer = make_messages_writer(call, options);
  writer->begin();
  const std::vector<AnswerDelta> first = {delta(Kind::kPromptDone), delta(Kind::kThought, "Let me "),
                                          delta(Kind::kThought, "see.")};
  const std::vector<AnswerDelta> second = {delta(Kind::kText, "Looking."),
                                           delta(Kind::kCallBegun, "weather", 0),
                                           delta(Kind::kCallArguments, "{\"city\":"),
                                           delta(Kind::kCallArguments, "\"Paris\"}"),
                                           delta(Kind::kCall, "", 0),
                                           delta(Kind::kCallBegun, "time", 1),
                                           delta(Kind::kCallArguments, "{}"),
                                           delta(Kind::kCall, "", 1)};
  writer->write(first);
  writer->write(second);
  writer->finish(everything());
  return exchange;
}

TEST(AnthropicWriter, StreamsOneBlockAfterTheOther) {
  const auto exchange = stream_everything({.model = "claude", .prompt_tokens = 100});
  EXPECT_TRUE(exchange->ended());
  std::string order;
  int open = -1, next = 0;
  std::string input;
  for (const Json& event : exchange->events()) {
    const std::string type = event["type"];
    order += type + " ";
    if (type == "content_block_start") {
      EXPECT_EQ(open, -1);
      EXPECT_EQ(event["index"], next);
      open = next++;
    } else if (type == "content_block_delta") {
      EXPECT_EQ(event["index"], open);
      if (event["index"] == 2) input += event["delta"]["partial_json"];
    } else if (type == "content_block_stop") {
      EXPECT_EQ(event["index"], open);
      open = -1;
    } else if (type == "message_start") {
      EXPECT_EQ(event["message"]["usage"]["input_tokens"], 100);
      EXPECT_EQ(event["message"]["content"], Json::array());
    } else if (type == "message_delta") {
      EXPECT_EQ(event["delta"]["stop_reason"], "tool_use");
      EXPECT_EQ(event["usage"]["input_tokens"], 4);
      EXPECT_EQ(event["usage"]["cache_read_input_tokens"], 96);
      EXPECT_EQ(event["usage"]["output_tokens"], 20);
    }
  }
  EXPECT_EQ(input, R"({"city":"Paris"})");
  EXPECT_EQ(order,
            "message_start ping "
            "content_block_start content_block_delta content_block_delta content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_stop "
            "message_delta message_stop ");
  EXPECT_THAT(exchange->text(), HasSubstr("signature_delta"));
  EXPECT_THAT(exchange->text(), HasSubstr("\"toolu_0\""));
}

TEST(AnthropicWriter, ThoughtsCanBeLeftOut) {
  MessagesWriterOptions options;
  options.style.omit_thinking = true;
  const auto exchange = stream_everything(options);
  EXPECT_THAT(exchange->text(), Not(HasSubstr("Let me")));
  EXPECT_THAT(exchange->text(), HasSubstr("signature_delta"));
}

TEST(AnthropicWriter, OneObjectHasTheSameBlocks) {
  auto exchange = std::make_shared<FakeExchange>();
  Call call = fake_call(exchange);
  call.surface = Surface::kAnthropic;
  const auto writer = make_messages_writer(call, {.model = "claude"});
  writer->begin();
  writer->finish(everything());
  const Json json = exchange->json();
  EXPECT_THAT(json["id"].get<std::string>(), StartsWith("msg_"));
  ASSERT_EQ(json["content"].size(), 4u);
  EXPECT_EQ(json["content"][0]["type"], "thinking");
  EXPECT_FALSE(json["content"][0]["signature"].get<std::string>().empty());
  EXPECT_EQ(json["content"][2]["id"], "toolu_0");
  EXPECT_EQ(json["content"][2]["input"], Json({{"city", "Paris"}}));
  EXPECT_EQ(json["stop_reason"], "tool_use");
  EXPECT_FALSE(json.contains("error"));
  EXPECT_EQ(json["usage"]["output_tokens_details"]["thinking_tokens"], 4);
}

TEST(AnthropicWriter, ACallThatIsCutHasWhatIsComplete) {
  auto exchange = std::make_shared<FakeExchange>();
  const auto writer = make_messages_writer(fake_call(exchange), {.model = "claude"});
  AnswerResult result = everything();
  result.choices[0].end = AnswerEnd::kLength;
  // Mended, it would say "Par"; clients that read the stream see no city.
  CallResult& cut = result.choices[0].calls[1];
  cut = {"call_1", {"call_1", "time", {{"zone", 1}, {"city", "Par"}}}, R"({"zone":1,"city":"Par)", false};
  writer->begin();
  writer->finish(result);
  const Json json = exchange->json();
  EXPECT_EQ(json["content"][2]["input"], Json({{"city", "Paris"}}));
  EXPECT_EQ(json["content"][3]["input"], Json({{"zone", 1}}));
  EXPECT_EQ(json["stop_reason"], "max_tokens");
}

TEST(AnthropicWriter, StopReasons) {
  const auto reason = [](AnswerEnd end, bool calls) {
    AnswerResult result = everything();
    result.choices[0].end = end;
    result.choices[0].stop_string = end == AnswerEnd::kStopString ? "END" : "";
    if (!calls) result.choices[0].calls.clear();
    auto exchange = std::make_shared<FakeExchange>();
    make_messages_writer(fake_call(exchange), {})->finish(result);
    return exchange->json()["stop_reason"].get<std::string>() + exchange->json()["stop_sequence"].dump();
  };
  EXPECT_EQ(reason(AnswerEnd::kStop, false), "end_turnnull");
  EXPECT_EQ(reason(AnswerEnd::kRepetition, false), "end_turnnull");
  EXPECT_EQ(reason(AnswerEnd::kLength, true), "max_tokensnull");
  EXPECT_EQ(reason(AnswerEnd::kStopString, false), "stop_sequence\"END\"");
}

TEST(AnthropicWriter, ErrorsInTheMiddle) {
  auto exchange = std::make_shared<FakeExchange>();
  Call call = fake_call(exchange);
  call.surface = Surface::kAnthropic;
  call.headers = {{"request-id", "req_1"}};
  MessagesWriterOptions options;
  options.style.stream = true;
  const auto writer = make_messages_writer(call, options);
  writer->begin();
  writer->fail({ErrorKind::kUnavailable, "", "the server is shutting down"});
  const Json last = exchange->events().back();
  EXPECT_EQ(last["type"], "error");
  EXPECT_EQ(last["error"]["type"], "overloaded_error");
  EXPECT_EQ(last["request_id"], "req_1");
  EXPECT_TRUE(exchange->ended());
}

}  // namespace
}  // namespace lapidary::server
