// Responses as clients see them, fed with what a model might say.
#include "server/responses_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "answer_delta.h"
#include "demo_service.h"
#include "fake_exchange.h"
#include "server/responses_items.h"

namespace lapidary::server {
namespace {

using testing::delta;
using ::testing::ElementsAre;
using testing::FakeExchange;
using Kind = AnswerDelta::Kind;

// The official list, as far as text and tools go.
const std::set<std::string> kOfficialTypes = {"response.created",
                                              "response.in_progress",
                                              "response.completed",
                                              "response.incomplete",
                                              "response.failed",
                                              "response.output_item.added",
                                              "response.output_item.done",
                                              "response.content_part.added",
                                              "response.content_part.done",
                                              "response.output_text.delta",
                                              "response.output_text.done",
                                              "response.reasoning_text.delta",
                                              "response.reasoning_text.done",
                                              "response.reasoning_summary_part.added",
                                              "response.reasoning_summary_part.done",
                                              "response.reasoning_summary_text.delta",
                                              "response.reasoning_summary_text.done",
                                              "response.function_call_arguments.delta",
                                              "response.function_call_arguments.done",
                                              "response.custom_tool_call_input.delta",
                                              "response.custom_tool_call_input.done"};

// A thought, a text and two calls, the way a model says them.
std::vector<AnswerDelta> everything() {
  return {delta(Kind::kPromptDone),
          delta(Kind::kThought, "Let me "),
          delta(Kind::kThought, "see."),
          delta(Kind::kText, "I will "),
          delta(Kind::kText, "look."),
          delta(Kind::kCallBegun, "weather", 0),
          delta(Kind::kCallArguments, R"({"city":)", 0),
          delta(Kind::kCallArguments, R"("Rome"})", 0),
          delta(Kind::kCall, "", 0),
          delta(Kind::kCallBegun, "maps__find", 1),
          delta(Kind::kCallArguments, "{}", 1),
          delta(Kind::kCall, "", 1)};
}

struct Scene {
  std::shared_ptr<FakeExchange> exchange = std::make_shared<FakeExchange>();
  ResponsesStore store{1 << 20, 3600};
  ResponsesWriterOptions options;
  std::unique_ptr<AnswerWriter> writer;

  explicit Scene(bool stream) {
    options.stream = stream;
    options.response = {{"id", "resp_1"},
                        {"object", "response"},
                        {"created_at", 7},
                        {"completed_at", nullptr},
                        {"status", "in_progress"},
                        {"error", nullptr},
                        {"incomplete_details", nullptr},
                        {"output", Json::array()},
                        {"usage", nullptr},
                        {"tools", Json::array()}};
    options.tools = {{"weather", {ResponsesToolKind::kFunction, "weather", ""}},
                     {"maps__find", {ResponsesToolKind::kFunction, "find", "maps"}},
                     {"apply_patch", {ResponsesToolKind::kCustom, "apply_patch", ""}},
                     {"local_shell", {ResponsesToolKind::kLocalShell, "local_shell", ""}}};
  }
  void begin() {
    writer = make_responses_writer(testing::demo_service().tokenizer(), store, testing::fake_call(exchange), options);
    writer->begin();
  }
  void finish(AnswerEnd end) {
    AnswerResult result;
    result.choices.resize(1);
    result.choices[0].end = end;
    result.choices[0].thought_tokens = 3;
    result.choices[0].usage.prompt_tokens = 20;
    result.choices[0].usage.completion_tokens = 9;
    result.choices[0].usage.cached_tokens = 16;
    writer->finish(result);
    writer.reset();
  }
  void all(const std::vector<AnswerDelta>& deltas, AnswerEnd end) {
    begin();
    for (const AnswerDelta& each : deltas) writer->write(std::span(&each, 1));
    finish(end);
  }
  Json final_response() const { return options.stream ? exchange->events().back()["response"] : exchange->json(); }
};

std::vector<std::string> types(const std::vector<Json>& events) {
  std::vector<std::string> names;
  for (const Json& event : events) names.push_back(event["type"].get<std::string>());
  return names;
}

// What SDKs check, and what their accumulators would make of the events.
void expect_well_formed(const std::vector<Json>& events) {
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.front()["type"], "response.created");
  Json output = Json::array();
  bool item_open = false;
  for (size_t i = 0; i < events.size(); ++i) {
    const Json& event = events[i];
    const std::string type = event["type"].get<std::string>();
    EXPECT_TRUE(kOfficialTypes.contains(type)) << type;
    EXPECT_EQ(event["sequence_number"], i);
    if (type == "response.in_progress") {
      EXPECT_TRUE(output.empty());
    }
    if (event.contains("output_index")) {
      EXPECT_EQ(event["output_index"], output.size() - (type == "response.output_item.added" ? 0 : 1)) << type;
    }
    if (type == "response.output_item.added") {
      EXPECT_FALSE(item_open);
      item_open = true;
      output.push_back(event["item"]);
    } else if (type == "response.content_part.added") {
      output.back()["content"].push_back(event["part"]);
    } else if (type == "response.output_text.delta" || type == "response.reasoning_text.delta") {
      Json& part = output.back()["content"].at(event["content_index"].get<size_t>());
      part["text"] = part["text"].get<std::string>() + event["delta"].get<std::string>();
    } else if (type == "response.reasoning_summary_part.added") {
      output.back()["summary"].push_back(event["part"]);
    } else if (type == "response.reasoning_summary_text.delta") {
      Json& part = output.back()["summary"].at(event["summary_index"].get<size_t>());
      part["text"] = part["text"].get<std::string>() + event["delta"].get<std::string>();
    } else if (type == "response.function_call_arguments.delta") {
      Json& text = output.back()["arguments"];
      text = text.get<std::string>() + event["delta"].get<std::string>();
    } else if (type == "response.custom_tool_call_input.delta") {
      Json& text = output.back()["input"];
      text = text.get<std::string>() + event["delta"].get<std::string>();
    } else if (type == "response.output_item.done") {
      item_open = false;
      EXPECT_EQ(event["item"]["id"], output.back()["id"]);
      for (const char* key : {"arguments", "input", "summary"}) {
        if (output.back().contains(key)) {
          EXPECT_EQ(output.back()[key], event["item"][key]) << key;
        }
      }
      if (event["item"].contains("content") && !event["item"]["content"].empty()) {
        EXPECT_EQ(output.back()["content"][0]["text"], event["item"]["content"][0]["text"]);
      }
      output.back() = event["item"];
    }
    if (event.contains("item_id")) {
      EXPECT_EQ(event["item_id"], output.back()["id"]);
    }
  }
  const Json& last = events.back();
  if (last["type"] != "response.failed") {
    EXPECT_EQ(last["response"]["output"], output);
  }
}

TEST(ResponsesWriter, EventsOfThoughtTextAndTwoCalls) {
  Scene run(true);
  run.all(everything(), AnswerEnd::kStop);
  const std::vector<Json> events = run.exchange->events();
  expect_well_formed(events);
  EXPECT_THAT(
      types(events),
      ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                  "response.content_part.added", "response.reasoning_text.delta", "response.reasoning_text.delta",
                  "response.reasoning_text.done", "response.content_part.done", "response.output_item.done",
                  "response.output_item.added", "response.content_part.added", "response.output_text.delta",
                  "response.output_text.delta", "response.output_text.done", "response.content_part.done",
                  "response.output_item.done", "response.output_item.added", "response.function_call_arguments.delta",
                  "response.function_call_arguments.delta", "response.function_call_arguments.done",
                  "response.output_item.done", "response.output_item.added", "response.function_call_arguments.delta",
                  "response.function_call_arguments.done", "response.output_item.done", "response.completed"));
  EXPECT_TRUE(run.exchange->ended());
  EXPECT_EQ(run.exchange->text().find("[DONE]"), std::string::npos);
  const Json response = run.final_response();
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["usage"], Json::parse(R"({"input_tokens": 20,
      "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0}, "output_tokens": 9,
      "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 29})"));
  const Json& output = response["output"];
  EXPECT_EQ(output[0]["content"][0]["text"], "Let me see.");
  EXPECT_EQ(output[1]["content"][0]["text"], "I will look.");
  EXPECT_EQ(output[2]["arguments"], R"({"city":"Rome"})");
  EXPECT_EQ(output[2]["call_id"], "call_0");
  EXPECT_FALSE(output[2].contains("namespace"));
  EXPECT_EQ(output[3]["name"], "find");
  EXPECT_EQ(output[3]["namespace"], "maps");
}

TEST(ResponsesWriter, AnObjectSaysWhatTheStreamSays) {
  Scene stream(true), whole(false);
  stream.all(everything(), AnswerEnd::kStop);
  whole.all(everything(), AnswerEnd::kStop);
  Json a = stream.final_response(), b = whole.final_response();
  for (Json* each : {&a, &b}) {
    each->erase("completed_at");
    for (Json& item : (*each)["output"]) item.erase("id");
  }
  EXPECT_EQ(a, b);
}

TEST(ResponsesWriter, ThoughtsAsSummary) {
  Scene run(true);
  run.options.style = {true, true};
  run.all(everything(), AnswerEnd::kStop);
  expect_well_formed(run.exchange->events());
  const Json item = run.final_response()["output"][0];
  EXPECT_EQ(item["summary"][0]["text"], "Let me see.");
  EXPECT_TRUE(item["content"].empty());
  EXPECT_EQ(unseal_thought(item["encrypted_content"].get<std::string>()), "Let me see.");
}

TEST(ResponsesWriter, ACallThatIsCutIsIncomplete) {
  for (const bool stream : {true, false}) {
    Scene run(stream);
    // What the reader gives back of a call that it cannot read is no answer.
    run.all({delta(Kind::kCallBegun, "weather"), delta(Kind::kCallArguments, R"({"city":"Ro)"),
             delta(Kind::kText, "<|tool_call>call:weather{city:<|\"|>Ro")},
            AnswerEnd::kLength);
    const Json response = run.final_response();
    EXPECT_EQ(response["status"], "incomplete");
    EXPECT_EQ(response["incomplete_details"]["reason"], "max_output_tokens");
    ASSERT_EQ(response["output"].size(), 1u);
    EXPECT_EQ(response["output"][0]["arguments"], R"({"city":"Ro)");
    EXPECT_EQ(response["output"][0]["status"], "incomplete");
    if (!stream) continue;
    expect_well_formed(run.exchange->events());
    EXPECT_EQ(run.exchange->events().back()["type"], "response.incomplete");
  }
}

TEST(ResponsesWriter, ACallThatWasReadAsFarAsItGoesIsIncomplete) {
  Scene run(true);
  run.all({delta(Kind::kCallBegun, "weather"), delta(Kind::kCallArguments, R"({"city":"Ro"})"), delta(Kind::kCall)},
          AnswerEnd::kLength);
  expect_well_formed(run.exchange->events());
  EXPECT_EQ(run.final_response()["output"][0]["status"], "incomplete");
}

TEST(ResponsesWriter, AThoughtThatIsCutIsIncomplete) {
  Scene run(true);
  run.all({delta(Kind::kThought, "Hm")}, AnswerEnd::kLength);
  expect_well_formed(run.exchange->events());
  const Json response = run.final_response();
  ASSERT_EQ(response["output"].size(), 1u);
  EXPECT_EQ(response["output"][0]["status"], "incomplete");
}

TEST(ResponsesWriter, FailureInTheMiddleEndsTheStream) {
  Scene run(true);
  run.begin();
  const AnswerDelta some = delta(Kind::kText, "Well");
  run.writer->write(std::span(&some, 1));
  run.writer->fail({ErrorKind::kInternal, "", "the engine stopped"});
  const std::vector<Json> events = run.exchange->events();
  expect_well_formed(events);
  EXPECT_TRUE(run.exchange->ended());
  EXPECT_EQ(events.back()["type"], "response.failed");
  const Json& response = events.back()["response"];
  EXPECT_EQ(response["error"], (Json{{"code", "server_error"}, {"message", "the engine stopped"}}));
  EXPECT_EQ(response["output"][0]["content"][0]["text"], "Well");
  EXPECT_EQ(response["output"][0]["status"], "incomplete");
}

TEST(ResponsesWriter, FailureOfAnObjectIsAStatus) {
  Scene run(false);
  run.begin();
  run.writer->fail({ErrorKind::kDeadline, "", "too slow"});
  EXPECT_EQ(run.exchange->status(), 504);
  EXPECT_EQ(run.exchange->json()["error"]["code"], "timeout");
}

TEST(ResponsesWriter, CodesThatClientsActUponAreKept) {
  Scene run(true);
  run.begin();
  run.writer->fail(bad_request("context_length_exceeded", "input", "too long"));
  EXPECT_EQ(run.exchange->events().back()["response"]["error"]["code"], "context_length_exceeded");
}

TEST(ResponsesWriter, NoTokensAreAnEmptyMessage) {
  Scene run(true);
  run.all({}, AnswerEnd::kStop);
  expect_well_formed(run.exchange->events());
  EXPECT_EQ(run.final_response()["output"][0]["content"][0]["text"], "");
}

TEST(ResponsesWriter, CustomToolsGetTheirText) {
  Scene run(true);
  run.all({delta(Kind::kCallBegun, "apply_patch"), delta(Kind::kCallArguments, R"({"input":"*** Begin\n)"),
           delta(Kind::kCallArguments, R"(\"x\""})"), delta(Kind::kCall)},
          AnswerEnd::kStop);
  expect_well_formed(run.exchange->events());
  const Json item = run.final_response()["output"][0];
  EXPECT_EQ(item["type"], "custom_tool_call");
  EXPECT_EQ(item["input"], "*** Begin\n\"x\"");
  EXPECT_TRUE(item["id"].get<std::string>().starts_with("ctc_"));
}

TEST(ResponsesWriter, CustomToolsThatAreCut) {
  Scene run(false);
  run.all({delta(Kind::kCallBegun, "apply_patch"), delta(Kind::kCallArguments, R"({"input":"*** Be)")},
          AnswerEnd::kLength);
  EXPECT_EQ(run.final_response()["output"][0]["input"], "*** Be");
  EXPECT_EQ(run.final_response()["output"][0]["status"], "incomplete");
}

TEST(ResponsesWriter, AShellCallIsAnAction) {
  Scene run(true);
  run.all({delta(Kind::kCallBegun, "local_shell"),
           delta(Kind::kCallArguments, R"({"command":["ls","-l"],"timeout_ms":500})"), delta(Kind::kCall)},
          AnswerEnd::kStop);
  expect_well_formed(run.exchange->events());
  const Json item = run.final_response()["output"][0];
  EXPECT_EQ(item["type"], "local_shell_call");
  EXPECT_EQ(item["action"]["type"], "exec");
  EXPECT_EQ(item["action"]["command"], Json::parse(R"(["ls", "-l"])"));
  EXPECT_EQ(item["action"]["timeout_ms"], 500);
}

TEST(ResponsesWriter, InProgressIsRepeatedOnlyBeforeTheFirstItem) {
  Scene run(true);
  run.options.in_progress_seconds = 0;
  run.begin();
  run.writer->keep_alive();
  run.writer->keep_alive();
  const AnswerDelta some = delta(Kind::kText, "a");
  run.writer->write(std::span(&some, 1));
  run.writer->keep_alive();
  run.finish(AnswerEnd::kStop);
  const std::vector<Json> events = run.exchange->events();
  expect_well_formed(events);
  EXPECT_EQ(events[3]["type"], "response.in_progress");
  EXPECT_EQ(events[4]["type"], "response.output_item.added");
  EXPECT_NE(run.exchange->text().find(":\n\n"), std::string::npos);
}

TEST(ResponsesWriter, ProgressOfThePromptDoesNotSilenceKeepAlives) {
  Scene run(true);
  run.options.keep_alive_seconds = 1e-9;
  run.begin();
  const AnswerDelta progress = delta(Kind::kPromptDone);
  run.writer->write(std::span(&progress, 1));
  EXPECT_TRUE(run.exchange->text().ends_with("\n\n:\n\n"));
}

TEST(ResponsesWriter, AStoredStreamIsReplayedAsItWas) {
  for (const bool summary : {false, true}) {
    Scene run(true);
    run.options.style = {summary, true};
    run.options.in_progress_seconds = 0;
    run.options.logprobs = 1;
    run.begin();
    run.writer->keep_alive();
    std::vector<AnswerDelta> deltas = everything();
    deltas[3].logprobs = {{5, -0.5, {{5, -0.5}}}};
    deltas.push_back(delta(Kind::kCallBegun, "apply_patch", 2));
    deltas.push_back(delta(Kind::kCallArguments, R"({"input":"a\u00e9\nb"})", 2));
    deltas.push_back(delta(Kind::kCall, "", 2));
    deltas.push_back(delta(Kind::kText, "And"));
    deltas.push_back(delta(Kind::kCallBegun, "local_shell", 3));
    deltas.push_back(delta(Kind::kCallArguments, R"({"command":["ls"])", 3));
    run.writer->write(deltas);
    run.finish(AnswerEnd::kLength);
    const auto stored = run.store.find("resp_1");
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->whole(), run.final_response());
    std::vector<Json> again;
    replay_response(*stored, [&](const Json& event, std::string_view) { again.push_back(event); });
    const std::vector<Json> events = run.exchange->events();
    ASSERT_EQ(types(again), types(events));
    for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(again[i], events[i]) << events[i]["type"];
  }
}

TEST(ResponsesWriter, AnObjectIsReplayedToo) {
  Scene run(false);
  run.all(everything(), AnswerEnd::kStop);
  std::vector<Json> again;
  replay_response(*run.store.find("resp_1"), [&](const Json& event, std::string_view) { again.push_back(event); });
  expect_well_formed(again);
  EXPECT_EQ(again.back()["response"], run.final_response());
}

TEST(ResponsesWriter, TheStoreKnowsWhatRuns) {
  Scene run(true);
  run.begin();
  EXPECT_TRUE(run.store.running("resp_1"));
  run.finish(AnswerEnd::kCancelled);
  EXPECT_FALSE(run.store.running("resp_1"));
  EXPECT_EQ(run.store.find("resp_1")->response["status"], "cancelled");
}

TEST(ResponsesWriter, NothingIsKeptThatWasNotToBeStored) {
  Scene run(true);
  run.options.store = false;
  run.all(everything(), AnswerEnd::kStop);
  EXPECT_FALSE(run.store.find("resp_1"));
}

TEST(ResponsesWriter, LogprobsStandWithTheirText) {
  Scene run(true);
  run.options.logprobs = 2;
  AnswerDelta first = delta(Kind::kText, "a");
  first.logprobs = {{5, -0.5, {{5, -0.5}, {6, -1.5}, {7, -2.5}}}};
  run.all({first}, AnswerEnd::kStop);
  const Json part = run.final_response()["output"][0]["content"][0];
  ASSERT_EQ(part["logprobs"].size(), 1u);
  EXPECT_EQ(part["logprobs"][0]["top_logprobs"].size(), 2u);
  EXPECT_DOUBLE_EQ(part["logprobs"][0]["logprob"].get<double>(), -0.5);
}

}  // namespace
}  // namespace lapidary::server
