#include "server/responses_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "server/responses_items.h"
#include "server/sampling_fields.h"

namespace lapidary::server {
namespace {

void read_unsupported(const RequestReader& reader) {
  const auto refuse = [&](std::string_view key, std::string_view why) {
    reader.fail(bad_request("unsupported_parameter", std::string(key), fmt::format("{}: {}", key, why)));
  };
  if (reader.has("conversation")) refuse("conversation", "use previous_response_id, or send the conversation's items");
  if (reader.has("prompt")) refuse("prompt", "this server keeps no prompt templates");
  if (reader.boolean("background").value_or(false)) {
    if (!reader.boolean("store").value_or(true))
      return reader.fail_value("background", "an answer in the background has to be stored");
    refuse("background", "answers are not made in the background; use stream");
  }
}

void check_accepted(const RequestReader& reader) {
  for (const char* key : {"client_metadata", "moderation", "stream_options", "prompt_cache_options"})
    reader.object(key);
  for (const char* key : {"service_tier", "safety_identifier", "prompt_cache_retention", "user", "prompt_cache_key"})
    reader.string(key);
  reader.integer("max_tool_calls", 1, INT64_MAX);
  reader.array("context_management");
  const Json* metadata = reader.object("metadata");
  if (!metadata) return;
  if (metadata->size() > 16)
    reader.fail_value("metadata", fmt::format("expected at most 16 pairs, found {}", metadata->size()));
  for (const auto& [key, value] : metadata->items()) {
    if (key.size() > 64 || !value.is_string() || value.get_ref<const std::string&>().size() > 512)
      reader.fail_value(
          "metadata",
          fmt::format("expected text of at most 512 bytes under keys of at most 64, found \"{}\"", key.substr(0, 80)));
  }
}

void read_reasoning(const RequestReader& reader, ResponsesRequest& request) {
  const RequestReader reasoning = reader.inside("reasoning");
  for (const char* key : {"generate_summary", "summary"}) {
    if (const auto word = reasoning.one_of(key, {"auto", "concise", "detailed", "none"}))
      request.summary = *word != "none";
  }
}

void read_include(const RequestReader& reader, ResponsesRequest& request) {
  const auto top = reader.integer("top_logprobs", 0, 20);
  bool logprobs = top.value_or(0) > 0;
  if (const Json* include = reader.array("include")) {
    for (const Json& word : *include) {
      if (word == "reasoning.encrypted_content") request.encrypted_content = true;
      if (word == "message.output_text.logprobs") logprobs = true;
    }
  }
  if (logprobs) request.chat.logprobs = static_cast<int32_t>(top.value_or(0));
}

void read_length(const RequestReader& reader, ChatRequest& request) {
  const auto most = reader.integer("max_output_tokens", 1, INT64_MAX);
  if (most) request.tokens_max = static_cast<int32_t>(std::min<int64_t>(*most, INT32_MAX));
  if (!reader.has("max_output_tokens")) read_tokens_max(reader, 1, request);
}

void read_text(const RequestReader& reader, ChatRequest& request) {
  const RequestReader text = reader.inside("text");
  text.string("verbosity");
  if (text.has("format")) read_format_object(text.inside("format"), true, request);
}

void read_previous(const RequestReader& reader, ResponsesStore& store, ResponsesRequest& request) {
  const auto id = reader.string("previous_response_id");
  if (!id) return;
  const std::shared_ptr<const StoredResponse> previous = store.find(*id);
  if (!previous) {
    return reader.fail({ErrorKind::kNotFound, "previous_response_not_found",
                        fmt::format("Previous response with id '{}' not found.", *id), "previous_response_id"});
  }
  request.items = previous->input;
  if (previous->output) request.items.push_back(previous->output);
}

// The request's own items as they are kept: references are replaced by what they name.
Json own_items(const Service& service, const RequestReader& reader, ResponsesStore& store) {
  Json items = Json::array();
  const Json* input = reader.required("input");
  if (!input) return items;
  if (input->is_string()) {
    items.push_back(listed_item({{"role", "user"}, {"content", *input}}));
    return items;
  }
  if (!reader.array("input")) return items;
  if (input->size() > static_cast<size_t>(service.options().messages_max)) {
    reader.fail_value(
        "input", fmt::format("expected at most {} items, found {}", service.options().messages_max, input->size()));
    return items;
  }
  // Many references to one large item are a small request.
  int64_t referred_bytes = 0;
  for (size_t i = 0; i < input->size() && !reader.failed(); ++i) {
    const RequestReader item = reader.element("input", i);
    const auto type = item.string("type");
    // Some clients leave the type out there as well.
    const bool refers = type == "item_reference" || (!type && !item.has("role") && item.has("id"));
    if (!refers) {
      items.push_back(item.json());
      continue;
    }
    const std::string id = item.required_string("id");
    std::optional<Json> found = store.find_item(id);
    if (!found) {
      item.fail({ErrorKind::kNotFound, "", fmt::format("Item with id '{}' not found.", id), item.place("id")});
      break;
    }
    referred_bytes += memory_bytes(*found);
    if (referred_bytes > service.options().http.body_bytes_max) {
      item.fail({ErrorKind::kTooLarge, "", "input: the items that are referred to are too large together", "input"});
      break;
    }
    items.push_back(std::move(*found));
  }
  return items;
}

void read_input(const Service& service, const RequestReader& reader, ResponsesStore& store, ResponsesRequest& request) {
  if (reader.failed()) return;
  if (const auto instructions = reader.string("instructions"); instructions && !instructions->empty())
    request.chat.conversation.messages.push_back(text_message(Role::kSystem, *instructions));
  read_previous(reader, store, request);
  for (const ResponseItemsPtr& earlier : request.items) {
    for (const Json& item : earlier->items) {
      if (reader.failed()) return;
      std::optional<ApiError> error;
      read_item(service, RequestReader(item, "previous_response_id", error), request.tools, request.chat);
      if (error) reader.fail(std::move(*error));
    }
  }
  const Json holder = {{"input", own_items(service, reader, store)}};
  if (reader.failed()) return;
  const Json& items = holder["input"];
  std::optional<ApiError> error;
  const RequestReader inside(holder, reader.path(), error);
  Json listed = Json::array();
  for (size_t i = 0; i < items.size() && !inside.failed(); ++i) {
    read_item(service, inside.element("input", i), request.tools, request.chat);
    if (!inside.failed()) listed.push_back(listed_item(items[i]));
  }
  if (error) return reader.fail(std::move(*error));
  request.items.push_back(std::make_shared<const ResponseItems>(std::move(listed)));
  int64_t bytes = 0;
  for (const ResponseItemsPtr& each : request.items) bytes += each->bytes;
  if (!store.has_room(bytes)) request.store = false;  // the answer says so
  drop_bare_thoughts(request.chat);
  if (request.chat.conversation.messages.empty()) {
    return reader.fail(bad_request("missing_required_parameter", "input",
                                   "input: expected at least one item that says something, found none"));
  }
  place_system_messages(request.chat.conversation.messages, service.options().keep_system_messages);
}

// A function tool as it is echoed: with every key that the official types require.
Json echoed_tool(const Json& tool) {
  Json echoed = tool;
  if (tool.value("type", Json()) != "function") return echoed;
  for (const char* key : {"description", "parameters"}) {
    if (!echoed.contains(key)) echoed[key] = nullptr;
  }
  if (!echoed.contains("strict") || echoed["strict"].is_null()) echoed["strict"] = false;
  return echoed;
}

Json blank_response(const Service& service, const RequestReader& reader, const ResponsesRequest& request) {
  const auto echo = [&](std::string_view key, const Json& fallback = nullptr) {
    const Json* value = reader.find(key);
    return value ? *value : fallback;
  };
  const RequestReader reasoning = reader.inside("reasoning");
  const Json* summary = reasoning.find("summary");
  if (!summary) summary = reasoning.find("generate_summary");
  Json tools = Json::array();
  if (const Json* given = reader.array("tools")) {
    for (const Json& tool : *given) tools.push_back(echoed_tool(tool));
  }
  Json text = reader.inside("text").json();
  if (!reader.inside("text").has("format")) text["format"] = {{"type", "text"}};
  // A float's shortest decimal form, not the double that it becomes.
  const auto decimal = [](float value) { return std::round(static_cast<double>(value) * 1e6) / 1e6; };
  return {{"id", nullptr},
          {"object", "response"},
          {"created_at", nullptr},
          {"completed_at", nullptr},
          {"status", "in_progress"},
          {"background", false},
          {"error", nullptr},
          {"incomplete_details", nullptr},
          {"instructions", echo("instructions")},
          {"max_output_tokens", request.chat.tokens_max ? Json(*request.chat.tokens_max) : Json(nullptr)},
          {"max_tool_calls", nullptr},
          {"model", request.chat.model.empty() ? service.card().id : request.chat.model},
          {"output", Json::array()},
          {"parallel_tool_calls", request.chat.tool_choice.parallel},
          {"previous_response_id", echo("previous_response_id")},
          {"prompt_cache_key", echo("prompt_cache_key")},
          {"reasoning",
           {{"effort", reasoning.has("effort") ? *reasoning.find("effort") : Json(nullptr)},
            {"summary", summary ? *summary : Json(nullptr)}}},
          {"safety_identifier", nullptr},
          {"service_tier", "default"},
          {"store", request.store},
          {"temperature", decimal(request.chat.sampling.temperature)},
          {"text", std::move(text)},
          {"tool_choice", echo("tool_choice", "auto")},
          {"tools", std::move(tools)},
          {"top_logprobs", request.chat.logprobs.value_or(0)},
          {"top_p", decimal(request.chat.sampling.top_p)},
          {"truncation", request.truncate ? "auto" : "disabled"},
          {"usage", nullptr},
          {"user", echo("user")},
          {"metadata", echo("metadata", Json::object())}};
}

// About as many as the message adds to the prompt.
int64_t estimated_tokens(const Service& service, const Message& message) {
  int64_t tokens = 4;
  const auto count = [&](const std::string& text) {
    tokens += static_cast<int64_t>(service.tokenizer().encode(text, SpecialTokens::kAsText).size());
  };
  for (const Part& part : message.parts) {
    if (part.kind == PartKind::kText) {
      count(part.text);
    } else {
      tokens += 256;
    }
  }
  count(message.reasoning);
  for (const ToolCall& call : message.tool_calls) count(call.name + dump_json(call.arguments));
  return tokens;
}

// The oldest message that may go, with the results that answer its calls: [begin, end). The last one stays.
std::pair<size_t, size_t> oldest_turn(const std::vector<Message>& messages) {
  size_t begin = 0;
  while (begin < messages.size() && (messages[begin].role == Role::kSystem || messages[begin].role == Role::kDeveloper))
    ++begin;
  size_t end = begin + 1;
  while (end < messages.size() && messages[end].role == Role::kTool) ++end;
  return end < messages.size() ? std::pair(begin, end) : std::pair(size_t{0}, size_t{0});
}

// Media that no message shows any more must not be decoded again.
void drop_unused_media(ChatRequest& request) {
  std::vector<MediaRef> kept;
  for (Message& message : request.conversation.messages) {
    for (Part& part : message.parts) {
      if (part.kind == PartKind::kText || part.media < 0) continue;
      kept.push_back(std::move(request.media[static_cast<size_t>(part.media)]));
      part.media = static_cast<int32_t>(kept.size()) - 1;
    }
  }
  request.media = std::move(kept);
}

}  // namespace

ApiResult<ResponsesRequest> read_responses_request(const Service& service, ResponsesStore& store, const Json& body) {
  std::optional<ApiError> error;
  const RequestReader reader(body, "", error);
  ResponsesRequest request;
  request.chat.model = reader.string("model").value_or("");
  if (!reader.failed()) {
    if (auto unknown = service.check_model(Surface::kOpenAi, request.chat.model)) return std::move(*unknown);
  }
  read_unsupported(reader);
  default_sampling(service, request.chat);
  read_sampling(service, reader, request.chat);
  request.chat.choices = 1;
  request.chat.stream = reader.boolean("stream").value_or(false);
  request.store = reader.boolean("store").value_or(true) && store.keeps();
  request.truncate = reader.one_of("truncation", {"auto", "disabled"}) == "auto";
  read_length(reader, request.chat);
  read_include(reader, request);
  read_reasoning(reader, request);
  read_thinking(service, reader, Surface::kOpenAi, request.chat);
  read_media_options(reader, request.chat);
  read_responses_tools(service, reader, request.chat, request.tools);
  read_text(reader, request.chat);
  check_accepted(reader);
  read_input(service, reader, store, request);
  if (!error) request.response = blank_response(service, reader, request);
  if (error) return std::move(*error);
  return request;
}

ApiResult<PreparedPrompt> prepare_responses_prompt(Service& service, ResponsesRequest& request,
                                                   const std::atomic<bool>& cancelled) {
  const int64_t context = service.card().context;
  // Whoever lets the server cut wants an answer, too.
  const int64_t answer = std::min<int64_t>(request.chat.tokens_max.value_or(context / 4), context / 4);
  while (true) {
    ApiResult<PreparedPrompt> prompt = prepare_prompt(service, request.chat, cancelled);
    if (!prompt) {
      ApiError error = std::move(prompt).error();
      if (error.param == "messages") error.param = "input";
      return error;
    }
    if (!request.truncate) return prompt;
    int64_t excess = static_cast<int64_t>(prompt->input.tokens.size()) + answer - context;
    if (excess <= 0) return prompt;
    std::vector<Message>& messages = request.chat.conversation.messages;
    bool dropped = false;
    while (excess > 0) {
      const auto [begin, end] = oldest_turn(messages);
      if (begin == end) break;
      for (size_t i = begin; i < end; ++i) excess -= estimated_tokens(service, messages[i]);
      messages.erase(messages.begin() + static_cast<std::ptrdiff_t>(begin),
                     messages.begin() + static_cast<std::ptrdiff_t>(end));
      dropped = true;
    }
    if (!dropped) return prompt;
    drop_unused_media(request.chat);
  }
}

}  // namespace lapidary::server
