#include "server/responses.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

#include "server/prepare.h"
#include "server/responses_request.h"
#include "server/responses_writer.h"

namespace lapidary::server {
namespace {

constexpr int64_t kReplayPendingBytes = 256 << 10;
constexpr int kReplayWaitsMax = 400;

ApiError unknown_response(const std::string& id) {
  return {ErrorKind::kNotFound, "", fmt::format("Response with id '{}' not found.", id.substr(0, 128)), "response_id"};
}

std::optional<int64_t> query_integer(const Call& call, const char* name) {
  const auto it = call.query.find(name);
  if (it == call.query.end()) return {};
  int64_t value = -1;
  const std::string& text = it->second;
  const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && rest == text.data() + text.size() ? value : -1;
}

std::string query_text(const Call& call, const char* name, const std::string& fallback) {
  const auto it = call.query.find(name);
  return it == call.query.end() ? fallback : it->second;
}

void replay(const Call& call, const StoredResponse& stored) {
  const std::optional<int64_t> after = query_integer(call, "starting_after");
  if (after && *after < 0)
    return call.fail(bad_request("invalid_value", "starting_after", "starting_after: expected a sequence number"));
  SseStream sse(call);
  sse.begin();
  int waits = 0;
  replay_response(stored, [&](const Json& event, std::string_view type) {
    if (event["sequence_number"].get<int64_t>() <= after.value_or(-1)) return;
    // All of it is there at once, and a client that is sent too much at once counts as gone.
    for (; waits < kReplayWaitsMax && !call.exchange->gone() && call.exchange->pending_bytes() > kReplayPendingBytes;
         ++waits)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    sse.event(event, type);
  });
  sse.end();
}

}  // namespace

void handle_responses(Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  ApiResult<ResponsesRequest> request = read_responses_request(service, service.responses(), *body);
  if (!request) return call.fail(request.error());
  ApiResult<PreparedPrompt> prompt = prepare_responses_prompt(service, *request, *call.gone);
  if (!prompt) return call.fail(prompt.error());
  ApiResult<AnswerRequest> answer =
      prepare_answer(service, Surface::kOpenAi, request->chat, std::move(*prompt), "input");
  if (!answer) return call.fail(answer.error());
  answer->arrived = call.arrived;
  const std::string id = random_id("resp_");
  ResponsesWriterOptions writing;
  writing.response = std::move(request->response);
  writing.response["id"] = id;
  writing.response["created_at"] = unix_seconds();
  writing.items = std::move(request->items);
  writing.tools = std::move(request->tools);
  writing.style = {request->summary, request->encrypted_content};
  writing.logprobs = request->chat.logprobs;
  writing.stream = request->chat.stream;
  writing.store = request->store;
  writing.keep_alive_seconds = service.options().keep_alive_seconds;
  auto writer = make_responses_writer(service.tokenizer(), service.responses(), call, std::move(writing));
  const auto started = service.start(std::move(*answer), call.exchange, std::move(writer));
  if (!started) return call.fail(started.error());
  service.responses().attach(id, *started);
}

void handle_responses_count(Service& service, const Call& call) {
  ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  ApiResult<ResponsesRequest> request = read_responses_request(service, service.responses(), *body);
  if (!request) return call.fail(request.error());
  const ApiResult<PreparedPrompt> prompt = prepare_prompt(service, request->chat, *call.gone);
  if (!prompt) return call.fail(prompt.error());
  call.respond_json({{"object", "response.input_tokens"}, {"input_tokens", prompt->input.tokens.size()}});
}

void handle_response(Service& service, const Call& call) {
  const std::string& id = call.parameters.front();
  if (const auto stored = service.responses().find(id))
    return call.query_flag("stream") ? replay(call, *stored) : call.respond_json(stored->whole());
  const auto running = service.responses().running(id);
  if (!running) return call.fail(unknown_response(id));
  if (call.query_flag("stream")) {
    return call.fail(
        bad_request("unsupported_value", "stream",
                    "stream: the response is being made; its events can be had again when it is complete"));
  }
  call.respond_json(running->response);
}

void handle_response_delete(Service& service, const Call& call) {
  const std::string& id = call.parameters.front();
  if (!service.responses().erase(id)) return call.fail(unknown_response(id));
  call.respond_json({{"id", id}, {"object", "response"}, {"deleted", true}});
}

void handle_response_cancel(Service& service, const Call& call) {
  const std::string& id = call.parameters.front();
  if (auto running = service.responses().running(id)) {
    if (const auto answer = running->answer.lock()) answer->cancel();
    running->response["status"] = "cancelled";
    return call.respond_json(running->response);
  }
  const auto stored = service.responses().find(id);
  if (!stored) return call.fail(unknown_response(id));
  call.respond_json(stored->whole());
}

void handle_response_items(Service& service, const Call& call) {
  const std::string& id = call.parameters.front();
  const auto stored = service.responses().find(id);
  if (!stored) return call.fail(unknown_response(id));
  const int64_t limit = query_integer(call, "limit").value_or(20);
  if (limit < 1 || limit > 100) return call.fail(bad_request("invalid_value", "limit", "limit: expected 1 to 100"));
  const std::string order = query_text(call, "order", "desc");
  if (order != "asc" && order != "desc")
    return call.fail(bad_request("invalid_value", "order", "order: expected asc or desc"));
  std::vector<const Json*> items;
  for (const ResponseItemsPtr& each : stored->input) {
    for (const Json& item : each->items) items.push_back(&item);
  }
  if (order == "desc") std::reverse(items.begin(), items.end());
  const auto place = [&](const std::string& item_id) {
    return std::find_if(items.begin(), items.end(),
                        [&](const Json* item) { return item->value("id", Json()) == item_id; });
  };
  if (const std::string after = query_text(call, "after", ""); !after.empty()) {
    const auto it = place(after);
    if (it == items.end())
      return call.fail(bad_request("invalid_value", "after", "after: the response was given no item with that id"));
    items.erase(items.begin(), it + 1);
  }
  const bool more = items.size() > static_cast<size_t>(limit);
  if (more) items.resize(static_cast<size_t>(limit));
  Json data = Json::array();
  for (const Json* item : items) data.push_back(*item);
  const Json none = nullptr;
  const Json first = data.empty() ? none : data.front()["id"], last = data.empty() ? none : data.back()["id"];
  call.respond_json(
      {{"object", "list"}, {"data", std::move(data)}, {"first_id", first}, {"last_id", last}, {"has_more", more}});
}

void handle_no_response(Service&, const Call& call) {
  call.fail({ErrorKind::kNotFound, "", fmt::format("there is nothing at POST {}", call.handler)});
}

}  // namespace lapidary::server
