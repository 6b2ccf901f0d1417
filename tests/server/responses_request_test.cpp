#include "server/responses_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "demo_service.h"
#include "server/responses_items.h"

namespace lapidary::server {
namespace {

using testing::demo_service;
using ::testing::HasSubstr;

struct Reading {
  ResponsesStore store{1 << 20, 3600};

  ApiResult<ResponsesRequest> read(const std::string& text) {
    const Json body = parse_json(text, "body").value();
    return read_responses_request(demo_service(), store, body);
  }
  ResponsesRequest good(const std::string& text) {
    ApiResult<ResponsesRequest> request = read(text);
    EXPECT_TRUE(request) << request.error().message;
    return request ? std::move(*request) : ResponsesRequest{};
  }
  ApiError bad(const std::string& text) {
    const ApiResult<ResponsesRequest> request = read(text);
    EXPECT_FALSE(request) << text;
    return request ? ApiError{} : request.error();
  }
};

std::vector<Message> messages(const std::string& input, const std::string& more = "") {
  return Reading().good(R"({"input": )" + input + more + "}").chat.conversation.messages;
}

TEST(ResponsesRequest, TextIsAUsersMessage) {
  Reading reading;
  const ResponsesRequest request = reading.good(R"({"input": "Hi", "instructions": "Be brief."})");
  const std::vector<Message>& said = request.chat.conversation.messages;
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0].role, Role::kSystem);
  EXPECT_EQ(text_of(said[0]), "Be brief.");
  EXPECT_EQ(said[1].role, Role::kUser);
  EXPECT_EQ(text_of(said[1]), "Hi");
  const Json& item = request.items.back()->items[0];
  EXPECT_EQ(item["content"][0]["type"], "input_text");
  EXPECT_TRUE(item["id"].get<std::string>().starts_with("msg_"));
}

TEST(ResponsesRequest, TheObjectHasEveryKey) {
  const Json response = Reading().good(R"({"input": "Hi"})").response;
  for (const char* key : {"id",
                          "object",
                          "created_at",
                          "completed_at",
                          "status",
                          "background",
                          "error",
                          "incomplete_details",
                          "instructions",
                          "max_output_tokens",
                          "max_tool_calls",
                          "model",
                          "output",
                          "parallel_tool_calls",
                          "previous_response_id",
                          "prompt_cache_key",
                          "reasoning",
                          "safety_identifier",
                          "service_tier",
                          "store",
                          "temperature",
                          "text",
                          "tool_choice",
                          "tools",
                          "top_logprobs",
                          "top_p",
                          "truncation",
                          "usage",
                          "user",
                          "metadata"}) {
    EXPECT_TRUE(response.contains(key)) << key;
  }
  EXPECT_EQ(response["background"], false);
  EXPECT_EQ(response["text"]["format"]["type"], "text");
  EXPECT_EQ(response["metadata"], Json::object());
  EXPECT_EQ(response["store"], true);
}

TEST(ResponsesRequest, EchoesWhatWasAsked) {
  const Json response = Reading()
                            .good(R"({"input": "Hi", "temperature": 0.7, "top_p": 0.9, "max_output_tokens": 12,
      "metadata": {"a": "b"}, "user": "me", "store": false, "truncation": "auto", "prompt_cache_key": "k",
      "reasoning": {"effort": "low", "summary": "auto"}, "parallel_tool_calls": false,
      "tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}})")
                            .response;
  EXPECT_EQ(response["temperature"].dump(), "0.7");
  EXPECT_EQ(response["top_p"].dump(), "0.9");
  EXPECT_EQ(response["max_output_tokens"], 12);
  EXPECT_EQ(response["metadata"]["a"], "b");
  EXPECT_EQ(response["user"], "me");
  EXPECT_EQ(response["store"], false);
  EXPECT_EQ(response["truncation"], "auto");
  EXPECT_EQ(response["reasoning"], (Json{{"effort", "low"}, {"summary", "auto"}}));
  EXPECT_EQ(response["parallel_tool_calls"], false);
  EXPECT_EQ(response["tools"][0]["strict"], false);
  EXPECT_EQ(response["tool_choice"]["name"], "f");
}

TEST(ResponsesRequest, CodexSendsThis) {
  Reading reading;
  const ResponsesRequest request =
      reading.good(R"({"client_metadata": {"x": "y"}, "include": ["reasoning.encrypted_content"],
      "input": [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "do"}]}],
      "instructions": "You are a coder.", "parallel_tool_calls": true, "prompt_cache_key": "k", "reasoning": null,
      "store": false, "stream": true, "tool_choice": "auto",
      "tools": [{"type": "function", "name": "exec_command", "description": "", "strict": false,
                 "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}},
                {"type": "custom", "name": "apply_patch", "description": "edits",
                 "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\""}},
                {"type": "web_search", "external_web_access": false}, {"type": "image_generation"},
                {"type": "local_shell"}, {"type": "tool_search", "execution": "client"}, {"type": "mcp"},
                {"type": "namespace", "name": "mcp__maps", "description": "",
                 "tools": [{"type": "function", "name": "find", "parameters": {"type": "object", "properties": {}}},
                           {"type": "function", "name": "show", "parameters": {"type": "object", "properties": {}}}]}]})");
  EXPECT_TRUE(request.encrypted_content);
  EXPECT_FALSE(request.store);
  std::vector<std::string> names;
  for (const Json& tool : request.chat.conversation.tools) names.push_back(tool["function"]["name"].get<std::string>());
  EXPECT_THAT(names, ::testing::ElementsAre("exec_command", "apply_patch", "local_shell", "mcp__maps__find",
                                            "mcp__maps__show"));
  EXPECT_EQ(request.tools.at("mcp__maps__find").name, "find");
  EXPECT_EQ(request.tools.at("mcp__maps__find").name_space, "mcp__maps");
  EXPECT_TRUE(request.chat.custom_tools.contains("apply_patch"));
  EXPECT_THAT(request.chat.conversation.tools[1]["function"]["description"].get<std::string>(),
              HasSubstr("start: \"x\""));
  // Both system texts are one turn.
  EXPECT_EQ(text_of(request.chat.conversation.messages[0]), "You are a coder.\n\nrules");
  EXPECT_EQ(request.response["tools"].size(), 8u);
}

TEST(ResponsesRequest, CustomToolsWithAPatternAreHeldToIt) {
  const ResponsesRequest request = Reading().good(R"({"input": "x", "tools": [
      {"type": "custom", "name": "a", "format": {"type": "grammar", "syntax": "regex", "definition": "x|y"}},
      {"type": "custom", "name": "b", "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\""}},
      {"type": "custom", "name": "c", "format": {"type": "text"}}]})");
  const Json& tools = request.chat.conversation.tools;
  const auto input = [&](size_t i) { return tools[i]["function"]["parameters"]["properties"]["input"]; };
  EXPECT_EQ(input(0)["pattern"], "^(?:x|y)$");
  EXPECT_THAT(tools[0]["function"]["description"].get<std::string>(), HasSubstr("grammar (regex):\nx|y"));
  EXPECT_FALSE(input(1).contains("pattern"));
  EXPECT_THAT(tools[1]["function"]["description"].get<std::string>(), HasSubstr("grammar (lark):"));
  EXPECT_FALSE(input(2).contains("pattern"));
  EXPECT_EQ(tools[2]["function"]["description"], "");
}

TEST(ResponsesRequest, NamesOfMembersNeverCollide) {
  const ResponsesRequest request = Reading().good(R"({"input": "x", "tools": [
      {"type": "function", "name": "a__b"},
      {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}]},
      {"type": "namespace", "name": "sp ace", "tools": [{"type": "function", "name": "b"}]}]})");
  EXPECT_EQ(request.tools.size(), 3u);
  EXPECT_EQ(declared_name(request.tools, "b", "a"), "a.b");
  EXPECT_EQ(declared_name(request.tools, "b", "sp ace"), "sp_ace__b");
  EXPECT_EQ(declared_name(request.tools, "a__b", ""), "a__b");
}

TEST(ResponsesRequest, ToolChoice) {
  const std::string tools = R"(, "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}, {"type": "shell"},
      {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}]})";
  Reading reading;
  const auto choice = [&](const std::string& value) {
    return reading.good(R"({"input": "x", "tool_choice": )" + value + tools).chat.tool_choice;
  };
  EXPECT_EQ(choice("\"required\"").use, ToolUse::kRequired);
  EXPECT_EQ(choice("\"none\"").use, ToolUse::kNone);
  EXPECT_THAT(choice(R"({"type": "function", "name": "f"})").names, ::testing::ElementsAre("f"));
  EXPECT_THAT(choice(R"({"type": "function", "name": "g"})").names, ::testing::ElementsAre("n__g"));
  EXPECT_THAT(choice(R"({"type": "shell"})").names, ::testing::ElementsAre("shell"));
  const ToolChoice allowed = choice(R"({"type": "allowed_tools", "mode": "auto",
      "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]})");
  EXPECT_THAT(allowed.names, ::testing::ElementsAre("f"));
  EXPECT_EQ(choice(R"({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]})").use,
            ToolUse::kNone);
  for (const char* wrong : {R"({"type": "web_search"})", R"({"type": "function", "name": "h"})", R"({"type": "mcp"})",
                            R"({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]})"}) {
    const ApiError error = reading.bad(R"({"input": "x", "tool_choice": )" + std::string(wrong) + tools);
    EXPECT_EQ(http_status(Surface::kOpenAi, error), 400) << wrong;
    EXPECT_EQ(error.param.substr(0, 11), "tool_choice") << wrong;
  }
}

TEST(ResponsesRequest, CallsAndThoughtsMakeOneTurn) {
  const std::vector<Message> said = messages(R"([
      {"role": "user", "content": "weather?"},
      {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "look up"}]},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait.", "annotations": []}]},
      {"type": "function_call", "call_id": "c1", "name": "find", "namespace": "maps", "arguments": "{\"q\":\"Rome\"}"},
      {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "text"},
      {"type": "function_call_output", "call_id": "c2", "output": [{"type": "output_text", "text": "ok"}]},
      {"type": "function_call_output", "call_id": "c1", "output": "sunny"}])");
  ASSERT_EQ(said.size(), 4u);
  EXPECT_EQ(said[1].reasoning, "look up");
  EXPECT_EQ(text_of(said[1]), "Wait.");
  ASSERT_EQ(said[1].tool_calls.size(), 2u);
  EXPECT_EQ(said[1].tool_calls[0].name, "maps__find");
  EXPECT_EQ(said[1].tool_calls[0].arguments["q"], "Rome");
  EXPECT_EQ(said[1].tool_calls[1].arguments["input"], "text");
  EXPECT_EQ(said[2].tool_call_id, "c2");
  EXPECT_EQ(text_of(said[2]), "ok");
  EXPECT_EQ(text_of(said[3]), "sunny");
}

TEST(ResponsesRequest, WhereThoughtsComeFrom) {
  const std::string sealed = seal_thought("sealed \xE2\x80\xA8 thought");
  const auto reasoning = [&](const std::string& item) {
    const std::vector<Message> said =
        messages(R"([{"role": "user", "content": "a"}, )" + item +
                 R"(, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}])");
    return said[1].reasoning;
  };
  EXPECT_EQ(reasoning(R"({"type": "reasoning", "summary": [], "encrypted_content": ")" + sealed + "\"}"),
            "sealed \xE2\x80\xA8 thought");
  EXPECT_EQ(reasoning(R"({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}],
                          "encrypted_content": "gAAAAABforeign"})"),
            "s");
  EXPECT_EQ(reasoning(R"({"type": "reasoning", "summary": [], "encrypted_content": "bm90IG91cnM="})"), "");
}

TEST(ResponsesRequest, NoItemOfAnotherToolIsAnError) {
  for (
      const char* item :
      {R"({"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}, "status": "completed"})",
       R"({"type": "local_shell_call_output", "id": "c", "output": "a b"})",
       R"({"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}})",
       R"({"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]})",
       R"({"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "x"}})",
       R"({"type": "apply_patch_call_output", "call_id": "c", "status": "completed"})",
       R"({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}})",
       R"({"type": "tool_search_call", "call_id": "c", "arguments": {"q": 1}})",
       R"({"type": "tool_search_output", "call_id": "c", "tools": []})",
       R"({"type": "additional_tools", "role": "developer", "tools": []})",
       R"({"type": "image_generation_call", "id": "ig_1", "result": "AAAA", "status": "completed"})",
       R"({"type": "mcp_call", "id": "m", "name": "n", "server_label": "l", "arguments": "{}", "output": "o"})",
       R"({"type": "compaction", "encrypted_content": "gAAA"})", R"({"type": "ghost_snapshot"})"}) {
    const std::vector<Message> said = messages(R"([{"role": "user", "content": "a"}, )" + std::string(item) +
                                               R"(, {"role": "user", "content": "b"}])");
    EXPECT_GE(said.size(), 2u) << item;
    // And what is made of it can be written as a prompt.
    Reading reading;
    ResponsesRequest request =
        reading.good(R"({"input": [{"role": "user", "content": "a"}, )" + std::string(item) + "]}");
    const std::atomic<bool> never{false};
    EXPECT_TRUE(prepare_responses_prompt(demo_service(), request, never)) << item;
  }
}

TEST(ResponsesRequest, BytesDoNotBecomeText) {
  const std::vector<Message> said =
      messages(R"([{"role": "user", "content": "a"}, {"type": "image_generation_call", "id": "i", "result": ")" +
               std::string(100'000, 'A') + R"("}, {"role": "user", "content": "b"}])");
  for (const Message& message : said) EXPECT_LT(text_of(message).size(), 1000u);
}

TEST(ResponsesRequest, Errors) {
  Reading reading;
  struct Case {
    const char* body;
    const char* code;
    const char* param;
  };
  for (const Case& wrong : {
           Case{R"({})", "missing_required_parameter", "input"},
           Case{R"({"input": []})", "missing_required_parameter", "input"},
           Case{R"({"input": 7})", "invalid_type", "input"},
           Case{R"({"input": [7]})", "invalid_type", "input[0]"},
           Case{R"({"input": [{"role": "user"}]})", "missing_required_parameter", "input[0].content"},
           Case{R"({"input": [{"role": "king", "content": "x"}]})", "invalid_value", "input[0].role"},
           Case{R"({"input": [{"role": "user", "content": [{"type": "smell"}]}]})", "invalid_value",
                "input[0].content[0].type"},
           Case{R"({"input": [{"type": "function_call_output", "output": "x"}]})", "missing_required_parameter",
                "input[0].call_id"},
           Case{R"({"input": "x", "conversation": "c"})", "unsupported_parameter", "conversation"},
           Case{R"({"input": "x", "prompt": {"id": "p"}})", "unsupported_parameter", "prompt"},
           Case{R"({"input": "x", "background": true})", "unsupported_parameter", "background"},
           Case{R"({"input": "x", "background": true, "store": false})", "invalid_value", "background"},
           Case{R"({"input": "x", "max_output_tokens": 0})", "invalid_value", "max_output_tokens"},
           Case{R"({"input": "x", "top_logprobs": 21})", "invalid_value", "top_logprobs"},
           Case{R"({"input": "x", "truncation": "maybe"})", "invalid_value", "truncation"},
           Case{R"({"input": "x", "reasoning": {"effort": "banana"}})", "invalid_value", "reasoning.effort"},
           Case{R"({"input": "x", "text": {"format": {"type": "sound"}}})", "invalid_value", "text.format.type"},
           Case{R"({"input": "x", "text": {"format": {"type": "json_schema"}}})", "missing_required_parameter",
                "text.format.schema"},
           Case{R"({"input": "x", "metadata": {"a": 1}})", "invalid_value", "metadata"},
           Case{R"({"input": "x", "tools": [{"type": "function"}]})", "missing_required_parameter", "tools[0].name"},
           Case{R"({"input": "x", "tools": [{"type": "function", "name": "a b"}]})", "invalid_value", "tools[0].name"},
       }) {
    const ApiError error = reading.bad(wrong.body);
    EXPECT_EQ(error.kind, ErrorKind::kInvalidRequest) << wrong.body;
    EXPECT_EQ(error.code, wrong.code) << wrong.body << error.message;
    EXPECT_EQ(error.param, wrong.param) << wrong.body;
  }
  EXPECT_EQ(reading.bad(R"({"input": "x", "model": "gpt-9"})").kind, ErrorKind::kModelNotFound);
}

TEST(ResponsesRequest, NullIsAbsent) {
  Reading().good(R"({"input": "x", "tools": null, "reasoning": null, "text": null, "include": null, "metadata": null,
      "tool_choice": null, "previous_response_id": null, "max_output_tokens": null, "instructions": null,
      "truncation": null, "temperature": null, "conversation": null, "prompt": null, "stream_options": null})");
}

TEST(ResponsesRequest, GoesOnFromAnEarlierResponse) {
  Reading reading;
  ResponsesRequest first = reading.good(R"({"input": "My name is Ada.", "instructions": "Be brief."})");
  StoredResponse stored;
  stored.response = {{"id", "resp_1"}, {"output", Json::array()}};
  stored.input = first.items;
  stored.output = std::make_shared<const ResponseItems>(Json::parse(
      R"([{"id": "msg_9", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello Ada."}]}])"));
  reading.store.put("resp_1", std::move(stored));
  const ResponsesRequest second = reading.good(R"({"input": "Who am I?", "previous_response_id": "resp_1"})");
  const std::vector<Message>& said = second.chat.conversation.messages;
  ASSERT_EQ(said.size(), 3u);  // instructions are not carried over
  EXPECT_EQ(text_of(said[0]), "My name is Ada.");
  EXPECT_EQ(text_of(said[1]), "Hello Ada.");
  EXPECT_EQ(second.items.size(), 3u);
  EXPECT_EQ(second.response["previous_response_id"], "resp_1");

  const ResponsesRequest third = reading.good(
      R"({"input": [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "msg_9"}, {"id": "msg_9"},
                    {"role": "user", "content": "b"}]})");
  EXPECT_EQ(text_of(third.chat.conversation.messages[1]), "Hello Ada.");
  EXPECT_EQ(third.items.back()->items[1]["id"], "msg_9");

  const ApiError unknown = reading.bad(R"({"input": "x", "previous_response_id": "resp_2"})");
  EXPECT_EQ(unknown.kind, ErrorKind::kNotFound);
  EXPECT_EQ(unknown.code, "previous_response_not_found");
  EXPECT_EQ(reading.bad(R"({"input": [{"type": "item_reference", "id": "msg_0"}]})").kind, ErrorKind::kNotFound);
}

TEST(ResponsesRequest, TruncationLeavesOutTheOldest) {
  Reading reading;
  std::string input = "[";
  for (int i = 0; i < 40; ++i) {
    std::string words = std::to_string(i);
    for (int word = 0; word < 40; ++word) words += " apple";
    input += R"({"role": ")" + std::string(i % 2 ? "assistant" : "user") + R"(", "content": ")" + words + "\"},";
  }
  input += R"({"role": "user", "content": "the last"}])";
  const std::atomic<bool> never{false};
  ResponsesRequest whole = reading.good(R"({"instructions": "the rules", "input": )" + input + "}");
  ApiResult<PreparedPrompt> prompt = prepare_responses_prompt(demo_service(), whole, never);
  ASSERT_TRUE(prompt);
  ASSERT_GT(prompt->input.tokens.size(), static_cast<size_t>(testing::kDemoContext));
  const ApiResult<AnswerRequest> refused =
      prepare_answer(demo_service(), Surface::kOpenAi, whole.chat, std::move(*prompt), "input");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "context_length_exceeded");

  ResponsesRequest cut = reading.good(R"({"instructions": "the rules", "truncation": "auto", "input": )" + input + "}");
  prompt = prepare_responses_prompt(demo_service(), cut, never);
  ASSERT_TRUE(prompt);
  EXPECT_LE(prompt->input.tokens.size(), static_cast<size_t>(testing::kDemoContext * 3 / 4));
  const std::vector<Message>& left = cut.chat.conversation.messages;
  EXPECT_EQ(text_of(left.front()), "the rules");
  EXPECT_EQ(text_of(left.back()), "the last");
  EXPECT_GT(left.size(), 3u);
  // What is left is the end of it.
  EXPECT_TRUE(text_of(left[left.size() - 2]).starts_with("39 "));
}

TEST(ResponsesRequest, ReasoningAndFormat) {
  Reading reading;
  const ResponsesRequest request = reading.good(R"({"input": "x", "reasoning": {"effort": "low", "summary": "detailed"},
      "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "strict": true,
                                               "schema": {"type": "object"}}},
      "include": ["message.output_text.logprobs", "file_search_call.results"], "top_logprobs": 3})");
  EXPECT_TRUE(request.chat.conversation.thinking);
  EXPECT_EQ(request.chat.thinking_budget, 1024);
  EXPECT_TRUE(request.summary);
  EXPECT_EQ(request.chat.format.kind, AnswerFormat::Kind::kSchema);
  EXPECT_TRUE(request.chat.format.strict);
  EXPECT_EQ(request.chat.logprobs, 3);
  EXPECT_FALSE(reading.good(R"({"input": "x", "reasoning": {"effort": "none"}})").chat.conversation.thinking);
  EXPECT_FALSE(reading.good(R"({"input": "x"})").chat.logprobs);
}

}  // namespace
}  // namespace lapidary::server
