// The Ollama surface: what its requests are read as, and what its clients are told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/log.h"
#include "demo_service.h"
#include "fake_exchange.h"
#include "server/ollama_chat.h"
#include "server/ollama_fields.h"
#include "server/ollama_models.h"
#include "server/ollama_writer.h"
#include "server/prepare.h"

namespace lapidary::server {
namespace {

using testing::demo_service;
using ::testing::ElementsAre;
using testing::fake_call;
using testing::FakeExchange;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = AnswerDelta::Kind;

Json json(std::string_view text) { return parse_json(text, "test").value(); }

Json body_of(std::string_view more = "{}") {
  Json body = json(R"({"model": "lapidary-demo", "messages": [{"role": "user", "content": "Hi"}]})");
  body.update(json(more));
  return body;
}

ChatRequest good(const Json& body) {
  ApiResult<ChatRequest> request = read_ollama_chat(demo_service(), body);
  if (!request) ADD_FAILURE() << request.error().message;
  return request ? *request : ChatRequest{};
}

std::string error_of(const Json& body) {
  const ApiResult<ChatRequest> request = read_ollama_chat(demo_service(), body);
  return request ? "no error" : request.error().message;
}

// Without line breaks, as clients send it.
std::string base64_of(const std::string& file) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::ifstream in(LAPIDARY_SOURCE_DIR "/examples/" + file, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : bytes.str()) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (held += 8; held >= 6; held -= 6) out += kDigits[bits >> (held - 6) & 63];
  }
  if (held > 0) out += kDigits[bits << (6 - held) & 63];
  return out;
}

TEST(OllamaRequest, NamesOfModels) {
  EXPECT_EQ(good(body_of()).model, "lapidary-demo");
  good(body_of(R"({"model": "lapidary-demo:latest"})"));
  EXPECT_EQ(error_of(body_of(R"({"model": ""})")), "model is required");
  // Any name is answered on this surface, and is not a name of the model for that.
  EXPECT_EQ(good(body_of(R"({"model": "llama3"})")).model, "llama3");
  EXPECT_FALSE(demo_service().is_name("llama3"));
  EXPECT_TRUE(demo_service().check_model(Surface::kOpenAi, "llama3"));
  for (const char* name : {"lapidary-demo", "lapidary-demo:latest", "owner/lapidary-demo", ""})
    EXPECT_TRUE(demo_service().is_name(name)) << name;
}

TEST(OllamaRequest, Options) {
  const ChatRequest request = good(body_of(R"({"options": {"temperature": "0.7", "top_k": 5, "seed": "42",
      "num_predict": -1, "stop": ["123", ""], "repeat_penalty": 1.5, "num_ctx": "1000000", "num_gpu": 99, "nonsense": {},
      "use_mmap": true, "n": 7}})"));
  EXPECT_FLOAT_EQ(request.sampling.temperature, 0.7f);
  EXPECT_EQ(request.sampling.top_k, 5);
  EXPECT_EQ(request.seed, 42u);
  EXPECT_FALSE(request.tokens_max);
  EXPECT_THAT(request.stop, ElementsAre("123"));
  EXPECT_EQ(request.choices, 1);
  EXPECT_EQ(good(body_of(R"({"options": {"num_predict": "12", "stop": "7"}})")).tokens_max, 12);
  EXPECT_THAT(error_of(body_of(R"({"options": {"temperature": "warm"}})")), HasSubstr("options.temperature"));
  EXPECT_THAT(error_of(body_of(R"({"options": {"num_ctx": [1]}})")), HasSubstr("options.num_ctx"));
}

TEST(OllamaRequest, FormatThinkingAndLogprobs) {
  EXPECT_EQ(good(body_of(R"({"format": ""})")).format.kind, AnswerFormat::Kind::kText);
  EXPECT_EQ(good(body_of(R"({"format": "json"})")).format.kind, AnswerFormat::Kind::kJsonObject);
  EXPECT_EQ(good(body_of(R"({"format": {"type": "object"}})")).format.kind, AnswerFormat::Kind::kSchema);
  EXPECT_THAT(error_of(body_of(R"({"format": "xml"})")), HasSubstr("format"));
  EXPECT_TRUE(good(body_of()).conversation.thinking);
  EXPECT_FALSE(good(body_of(R"({"think": false})")).conversation.thinking);
  EXPECT_EQ(good(body_of(R"({"think": "low"})")).thinking_budget, 1024);
  EXPECT_THAT(error_of(body_of(R"({"think": "a lot"})")), HasSubstr("think"));
  EXPECT_EQ(good(body_of(R"({"logprobs": true, "top_logprobs": 3})")).logprobs, 3);
  EXPECT_THAT(error_of(body_of(R"({"logprobs": true, "top_logprobs": 21})")), HasSubstr("top_logprobs"));
}

TEST(OllamaRequest, Durations) {
  EXPECT_EQ(parse_duration_seconds("5m"), 300);
  EXPECT_EQ(parse_duration_seconds("1h30m"), 5400);
  EXPECT_EQ(parse_duration_seconds("-1s"), -1);
  EXPECT_EQ(parse_duration_seconds("1.5s"), 1.5);
  EXPECT_EQ(parse_duration_seconds("250ms"), 0.25);
  EXPECT_EQ(parse_duration_seconds("300"), 300);
  EXPECT_EQ(parse_duration_seconds("0"), 0);
  for (const char* wrong : {"", "-", "m", "5 m", "5y", "5m3", "nan", "1e5s"})
    EXPECT_FALSE(parse_duration_seconds(wrong)) << wrong;
  EXPECT_THAT(error_of(body_of(R"({"keep_alive": "soon"})")), HasSubstr("keep_alive"));
  good(body_of(R"({"keep_alive": -1})"));
}

TEST(OllamaRequest, ImagesAreWhatTheirBytesSay) {
  Json body = body_of();
  body["messages"][0]["images"] = {base64_of("picture.jpg"), base64_of("recording.wav"),
                                   "data:video/mp4;base64," + base64_of("video.mp4")};
  const ChatRequest request = good(body);
  ASSERT_EQ(request.media.size(), 3u);
  EXPECT_EQ(request.media[0].kind, PartKind::kImage);
  EXPECT_EQ(request.media[1].kind, PartKind::kAudio);
  EXPECT_EQ(request.media[2].kind, PartKind::kVideo);
  const std::vector<Part>& parts = request.conversation.messages[0].parts;
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[3].text, "Hi");
}

TEST(OllamaRequest, ResultsFindTheirCalls) {
  const ChatRequest request = good(body_of(R"({"messages": [
    {"role": "USER", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [
      {"function": {"name": "weather", "arguments": {"city": "Paris"}}},
      {"function": {"name": "time", "arguments": {}}},
      {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]},
    {"role": "tool", "tool_name": "time", "content": "noon"},
    {"role": "tool", "tool_name": "weather", "content": "sun"},
    {"role": "tool", "tool_name": "weather", "content": "snow"}]})"));
  const std::string prompt = prompt_text(request.conversation);
  const size_t sun = prompt.find("sun"), noon = prompt.find("noon"), snow = prompt.find("snow");
  ASSERT_NE(snow, std::string::npos) << prompt;
  EXPECT_LT(sun, noon);
  EXPECT_LT(noon, snow);
}

TEST(OllamaRequest, Generate) {
  const auto read = [](std::string_view text) { return read_ollama_generate(demo_service(), json(text)); };
  const auto request = read(R"({"model": "lapidary-demo", "prompt": "Hi", "system": "Be brief.", "context": [1, 2]})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->conversation.messages.size(), 2u);
  EXPECT_THAT(read(R"({"model": "lapidary-demo", "prompt": "a", "suffix": "b"})").error().message, HasSubstr("suffix"));
  EXPECT_THAT(read(R"({"model": "lapidary-demo", "prompt": "a", "raw": true, "system": "s"})").error().message,
              HasSubstr("raw mode does not support"));
}

TEST(OllamaRequest, HistoryIsLeftOutWithItsMedia) {
  Json body = body_of(R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "old"},
      {"role": "assistant", "content": "a"}, {"role": "user", "content": "new"}]})");
  body["messages"][1]["images"] = {base64_of("picture.jpg")};
  body["messages"][3]["images"] = {base64_of("recording.wav")};
  const ChatRequest shorter = without_history(good(body), 3);
  ASSERT_EQ(shorter.conversation.messages.size(), 2u);
  EXPECT_EQ(text_of(shorter.conversation.messages[0]), "S");
  ASSERT_EQ(shorter.media.size(), 1u);
  EXPECT_EQ(shorter.media[0].kind, PartKind::kAudio);
  EXPECT_EQ(shorter.conversation.messages[1].parts[0].media, 0);
}

AnswerResult everything() {
  AnswerResult result;
  ChoiceResult choice;
  choice.thought = "Hm.";
  choice.text = "Looking.";
  choice.calls = {{"call_0", {"call_0", "weather", {{"city", "Paris"}}}, R"({"city":"Paris"})", true}};
  choice.end = AnswerEnd::kStop;
  choice.usage = {100, 20, 0, 0, 0, 96};
  choice.timing.prefill_ms = 2;
  choice.timing.decode_ms = 3;
  result.choices.push_back(std::move(choice));
  return result;
}

TEST(OllamaWriter, StreamsOneObjectALine) {
  auto exchange = std::make_shared<FakeExchange>();
  const auto writer = make_ollama_writer(demo_service(), fake_call(exchange), {.model = "m"});
  writer->begin();
  AnswerDelta thought, text, call;
  thought.kind = Kind::kThought;
  thought.text = "Hm.";
  text.text = "Looking.";
  call.kind = Kind::kCall;
  call.call_id = "call_0";
  call.call = {"call_0", "weather", {{"city", "Paris"}}};
  writer->write(std::vector<AnswerDelta>{thought, text, call});
  writer->keep_alive();
  writer->finish(everything());
  std::vector<Json> lines;
  std::istringstream in(exchange->text());
  for (std::string line; std::getline(in, line);) lines.push_back(json(line));
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0]["message"], json(R"({"role": "assistant", "content": "", "thinking": "Hm."})"));
  EXPECT_EQ(lines[1]["message"]["content"], "Looking.");
  EXPECT_EQ(lines[2]["message"]["tool_calls"],
            json(R"([{"id": "call_0", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}}])"));
  EXPECT_EQ(lines[3]["message"]["content"], "");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(lines[static_cast<size_t>(i)]["done"], false);
  EXPECT_EQ(lines[4]["done"], true);
  EXPECT_EQ(lines[4]["done_reason"], "stop");
  EXPECT_EQ(lines[4]["prompt_eval_count"], 100);
  EXPECT_EQ(lines[4]["prompt_eval_duration"], 2'000'000);
  EXPECT_EQ(lines[4]["eval_duration"], 3'000'000);
  EXPECT_THAT(exchange->text(), Not(HasSubstr("error")));
}

TEST(OllamaWriter, OneObjectAndGenerate) {
  auto exchange = std::make_shared<FakeExchange>();
  make_ollama_writer(demo_service(), fake_call(exchange), {.stream = false, .model = "m"})->finish(everything());
  EXPECT_EQ(exchange->json()["message"]["thinking"], "Hm.");
  EXPECT_EQ(exchange->json()["message"]["content"], "Looking.");
  EXPECT_EQ(exchange->json()["message"]["tool_calls"].size(), 1u);
  auto generated = std::make_shared<FakeExchange>();
  make_ollama_writer(demo_service(), fake_call(generated), {.generate = true, .stream = false, .model = "m"})
      ->finish(everything());
  EXPECT_EQ(generated->json()["response"], "Looking.");
  EXPECT_EQ(generated->json()["thinking"], "Hm.");
  EXPECT_FALSE(generated->json().contains("message"));
}

TEST(OllamaWriter, ACallThatIsCutIsLeftOut) {
  auto exchange = std::make_shared<FakeExchange>();
  AnswerResult result = everything();
  result.choices[0].end = AnswerEnd::kLength;
  result.choices[0].calls[0].complete = false;
  make_ollama_writer(demo_service(), fake_call(exchange), {.stream = false, .model = "m"})->finish(result);
  EXPECT_FALSE(exchange->json()["message"].contains("tool_calls"));
  EXPECT_EQ(exchange->json()["done_reason"], "length");
}

TEST(OllamaWriter, OneErrorLine) {
  auto exchange = std::make_shared<FakeExchange>();
  Call call = fake_call(exchange);
  call.surface = Surface::kOllama;
  const auto writer = make_ollama_writer(demo_service(), call, {});
  writer->begin();
  writer->fail({ErrorKind::kDeadline, "", "too slow"});
  EXPECT_EQ(exchange->text(), "{\"error\":\"too slow\"}\n");
}

TEST(OllamaChat, RenderingIsForThoseWhoDebug) {
  const auto ask = [](void (*handle)(Service&, const Call&), const char* body) {
    auto exchange = std::make_shared<FakeExchange>();
    Call call = fake_call(exchange);
    call.body->bytes = body;
    call.surface = Surface::kOllama;
    handle(demo_service(), call);
    return exchange->json();
  };
  constexpr const char* kChat =
      R"({"model": "lapidary-demo", "_debug_render_only": true, "messages": [{"role": "user", "content": "Hi there"}]})";
  constexpr const char* kRaw =
      R"({"model": "lapidary-demo", "_debug_render_only": true, "raw": true, "prompt": "Once"})";
  EXPECT_THAT(ask(handle_ollama_chat, kChat)["error"].get<std::string>(), HasSubstr("--log-level debug"));
  const auto level = spdlog::get_level();
  spdlog::set_level(spdlog::level::debug);
  const Json chat = ask(handle_ollama_chat, kChat), raw = ask(handle_ollama_generate, kRaw);
  spdlog::set_level(level);
  EXPECT_THAT(chat["_debug_info"]["rendered_template"].get<std::string>(),
              HasSubstr("<|turn>user\nHi there<turn|>\n<|turn>model\n"));
  EXPECT_EQ(chat["_debug_info"]["image_count"], 0);
  EXPECT_EQ(raw["_debug_info"]["rendered_template"], "Once");
}

TEST(OllamaModels, Show) {
  const auto show = [](std::string body, std::string agent) {
    auto exchange = std::make_shared<FakeExchange>();
    Call call = fake_call(exchange);
    exchange->set_header("User-Agent", std::move(agent));
    call.body->bytes = std::move(body);
    call.surface = Surface::kOllama;
    handle_ollama_show(demo_service(), call);
    return exchange->json();
  };
  const Json plain = show(R"({"name": "lapidary-demo"})", "x");
  EXPECT_THAT(plain["parameters"].get<std::string>(), HasSubstr("num_ctx 1024\n"));
  EXPECT_THAT(plain["parameters"].get<std::string>(), HasSubstr("stop \"<turn|>\""));
  EXPECT_EQ(plain["model_info"]["general.architecture"], "gemma4");
  EXPECT_NE(plain["model_info"]["general.basename"], "lapidary-demo:latest");
  EXPECT_EQ(show(R"({"model": "lapidary-demo:latest"})", "GitHubCopilotChat/0.30")["model_info"]["general.basename"],
            "lapidary-demo:latest");
  EXPECT_EQ(show("{}", "x")["error"], "model is required");
}

}  // namespace
}  // namespace lapidary::server
