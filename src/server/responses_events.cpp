#include "server/responses_events.h"

#include "server/choice_reader.h"
#include "server/responses_items.h"

namespace lapidary::server {
namespace {

// The one string of a custom tool's arguments, which may be cut anywhere between its characters.
std::string custom_text(const std::string& arguments) {
  for (const char* rest : {"", "\"}"}) {
    const Result<Json> json = parse_json(arguments + rest, "arguments");
    if (!json || !json->is_object()) continue;
    const Json input = json->value("input", Json());
    return input.is_string() ? input.get<std::string>() : input.is_null() ? "" : dump_wire_json(input);
  }
  return "";
}

// What the call item of a client's tool holds of the arguments that the model wrote.
Json client_member(ResponsesToolKind kind, const std::string& text) {
  const Result<Json> json = parse_json_exact(text.empty() ? "{}" : text, "arguments");
  Json arguments = json && json->is_object() ? *json : Json::object();
  const auto get = [&](const char* key, Json fallback) { return arguments.value(key, std::move(fallback)); };
  switch (kind) {
    case ResponsesToolKind::kLocalShell:
      return {{"type", "exec"},        {"command", get("command", Json::array())},
              {"env", Json::object()}, {"timeout_ms", get("timeout_ms", nullptr)},
              {"user", nullptr},       {"working_directory", get("working_directory", nullptr)}};
    case ResponsesToolKind::kShell:
      return {{"commands", get("commands", Json::array())},
              {"timeout_ms", get("timeout_ms", nullptr)},
              {"max_output_length", get("max_output_length", nullptr)}};
    case ResponsesToolKind::kApplyPatch: {
      Json operation = {{"type", get("type", "update_file")}, {"path", get("path", "")}};
      if (operation["type"] != "delete_file") operation["diff"] = get("diff", "");
      return operation;
    }
    case ResponsesToolKind::kFunction:
    case ResponsesToolKind::kCustom:
      break;
  }
  return arguments;
}

Json text_part(std::string_view text, Json logprobs) {
  return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", std::move(logprobs)}};
}

Json list_of(Json element) {
  Json list = Json::array();
  list.push_back(std::move(element));
  return list;
}

}  // namespace

void ResponseEvents::send(std::string_view type, Json members) {
  if (!sink_) return;
  Json event = {{"type", type}, {"sequence_number", sequence_++}};
  for (auto& [key, value] : members.items()) event[key] = std::move(value);
  sink_(event, type);
}

void ResponseEvents::send_response(std::string_view type) {
  if (sink_) send(type, {{"response", response_}});
}

// Of the first part of the open item.
void ResponseEvents::send_part(std::string_view type, Json members) {
  if (!sink_) return;
  const bool summary = kind_ == Kind::kThought && style_.summary;
  Json all = {{"item_id", item_["id"]}, {"output_index", index()}, {summary ? "summary_index" : "content_index", 0}};
  for (auto& [key, value] : members.items()) all[key] = std::move(value);
  send(type, std::move(all));
}

void ResponseEvents::begin() {
  send_response("response.created");
  send_response("response.in_progress");
}

void ResponseEvents::in_progress() {
  if (has_items()) return;
  steps_.push_back({ResponseStep::Kind::kInProgress});
  send_response("response.in_progress");
}

std::string ResponseEvents::next_id(std::string_view prefix) {
  return ids_used_ < ids_.size() ? ids_[ids_used_++] : random_id(prefix);
}

void ResponseEvents::open(Kind kind, std::string_view id_prefix, Json item) {
  close(natural_status());
  kind_ = kind;
  text_.clear();
  logprobs_ = Json::array();
  item_ = {{"id", next_id(id_prefix)}};
  for (auto& [key, value] : item.items()) item_[key] = std::move(value);
  item_["status"] = "in_progress";
  send("response.output_item.added", {{"output_index", index()}, {"item", item_}});
}

void ResponseEvents::thought(std::string_view more) {
  if (kind_ != Kind::kThought) {
    open(Kind::kThought, "rs_", {{"type", "reasoning"}, {"summary", Json::array()}, {"content", Json::array()}});
    if (style_.summary) {
      send_part("response.reasoning_summary_part.added", {{"part", {{"type", "summary_text"}, {"text", ""}}}});
    } else {
      send_part("response.content_part.added", {{"part", {{"type", "reasoning_text"}, {"text", ""}}}});
    }
  }
  steps_.push_back({ResponseStep::Kind::kThought, static_cast<uint32_t>(more.size())});
  text_ += more;
  send_part(style_.summary ? "response.reasoning_summary_text.delta" : "response.reasoning_text.delta",
            {{"delta", more}});
}

void ResponseEvents::text(std::string_view more, Json logprobs) {
  if (kind_ != Kind::kText) {
    open(Kind::kText, "msg_", {{"type", "message"}, {"role", "assistant"}, {"content", Json::array()}});
    send_part("response.content_part.added", {{"part", text_part("", Json::array())}});
  }
  steps_.push_back(
      {ResponseStep::Kind::kText, static_cast<uint32_t>(more.size()), static_cast<uint32_t>(logprobs.size())});
  text_ += more;
  logprobs_.insert(logprobs_.end(), logprobs.begin(), logprobs.end());
  if (!more.empty()) send_part("response.output_text.delta", {{"delta", more}, {"logprobs", std::move(logprobs)}});
}

void ResponseEvents::begin_call(ResponsesTool tool, const std::string& call_id) {
  const ClientTool* client = client_tool(tool.kind);
  Json item;
  if (client) {
    item = {{"type", client->call_type}, {"call_id", call_id}, {client->member, client_member(tool.kind, "")}};
  } else {
    const bool custom = tool.kind == ResponsesToolKind::kCustom;
    item = {{"type", custom ? "custom_tool_call" : "function_call"},
            {"call_id", call_id},
            {"name", tool.name},
            {custom ? "input" : "arguments", ""}};
    if (!tool.name_space.empty()) item["namespace"] = tool.name_space;
  }
  const std::string_view prefix = client ? client->id_prefix : tool.kind == ResponsesToolKind::kCustom ? "ctc_" : "fc_";
  open(Kind::kCall, prefix, std::move(item));
  tool_ = std::move(tool);
  steps_.push_back({ResponseStep::Kind::kCallBegun});
}

void ResponseEvents::arguments(std::string_view more) {
  if (kind_ != Kind::kCall || more.empty()) return;
  steps_.push_back({ResponseStep::Kind::kArguments, static_cast<uint32_t>(more.size())});
  text_ += more;
  // Free text is a string inside the arguments: it is known when they are.
  if (tool_.kind != ResponsesToolKind::kFunction) return;
  send("response.function_call_arguments.delta",
       {{"item_id", item_["id"]}, {"output_index", index()}, {"delta", more}});
}

void ResponseEvents::end_call() {
  if (kind_ != Kind::kCall) return;
  steps_.push_back({ResponseStep::Kind::kCallEnded});
  close("completed");
}

void ResponseEvents::close_thought() {
  if (style_.summary) {
    const Json part = {{"type", "summary_text"}, {"text", text_}};
    send_part("response.reasoning_summary_text.done", {{"text", text_}});
    send_part("response.reasoning_summary_part.done", {{"part", part}});
  } else {
    const Json part = {{"type", "reasoning_text"}, {"text", text_}};
    send_part("response.reasoning_text.done", {{"text", text_}});
    send_part("response.content_part.done", {{"part", part}});
  }
}

void ResponseEvents::close_text() {
  send_part("response.output_text.done", {{"text", text_}, {"logprobs", logprobs_}});
  send_part("response.content_part.done", {{"part", text_part(text_, logprobs_)}});
}

void ResponseEvents::close_call() {
  const Json where = {{"item_id", item_["id"]}, {"output_index", index()}};
  if (tool_.kind == ResponsesToolKind::kFunction) {
    Json done = where;
    done["name"] = tool_.name;
    done["arguments"] = text_;
    send("response.function_call_arguments.done", std::move(done));
  } else if (tool_.kind == ResponsesToolKind::kCustom) {
    const std::string input = custom_text(text_);
    Json delta = where, done = where;
    delta["delta"] = input;
    done["input"] = input;
    if (!input.empty()) send("response.custom_tool_call_input.delta", std::move(delta));
    send("response.custom_tool_call_input.done", std::move(done));
  }
}

// What the open item is by now.
void ResponseEvents::keep_open_item() {
  switch (kind_) {
    case Kind::kNone:
      break;
    case Kind::kThought:
      if (style_.summary) {
        item_["summary"] = list_of({{"type", "summary_text"}, {"text", text_}});
      } else {
        item_["content"] = list_of({{"type", "reasoning_text"}, {"text", text_}});
      }
      if (style_.encrypted_content) item_["encrypted_content"] = seal_thought(text_);
      break;
    case Kind::kText:
      item_["content"] = list_of(text_part(text_, logprobs_));
      break;
    case Kind::kCall:
      if (const ClientTool* client = client_tool(tool_.kind)) {
        item_[std::string(client->member)] = client_member(tool_.kind, text_);
      } else if (tool_.kind == ResponsesToolKind::kCustom) {
        item_["input"] = custom_text(text_);
      } else {
        item_["arguments"] = text_;
      }
      break;
  }
}

void ResponseEvents::close(std::string_view status) {
  if (kind_ == Kind::kNone) return;
  if (sink_) {
    if (kind_ == Kind::kThought) close_thought();
    if (kind_ == Kind::kText) close_text();
    if (kind_ == Kind::kCall) close_call();
  }
  keep_open_item();
  item_["status"] = status;
  send("response.output_item.done", {{"output_index", index()}, {"item", item_}});
  response_["output"].push_back(std::move(item_));
  kind_ = Kind::kNone;
}

void ResponseEvents::end(End end) {
  if (end.status == "failed") {
    if (kind_ != Kind::kNone) {
      keep_open_item();
      item_["status"] = "incomplete";
      response_["output"].push_back(std::move(item_));
      kind_ = Kind::kNone;
    }
  } else {
    // An answer of no tokens is an empty message.
    if (end.status == "completed" && !has_items()) text("", Json::array());
    close(end.status == "completed" ? natural_status() : "incomplete");
  }
  response_["status"] = end.status;
  response_["incomplete_details"] = std::move(end.incomplete_details);
  response_["error"] = std::move(end.error);
  response_["usage"] = std::move(end.usage);
  response_["completed_at"] = std::move(end.completed_at);
  send_response(end.status == "completed" ? "response.completed"
                : end.status == "failed"  ? "response.failed"
                                          : "response.incomplete");
}

namespace {

// Takes the pieces of an item's text one after the other.
class Replay {
 public:
  Replay(const StoredResponse& stored, ResponseEvents& events)
      : output_(stored.output ? stored.output->items : kNothing), events_(events) {}

  void take(const ResponseStep& step) {
    switch (step.kind) {
      case ResponseStep::Kind::kInProgress:
        return events_.in_progress();
      case ResponseStep::Kind::kThought:
        enter("reasoning");
        return events_.thought(piece(step.bytes));
      case ResponseStep::Kind::kText: {
        enter("message");
        Json logprobs = Json::array();
        const Json& all = item()["content"][0]["logprobs"];
        for (uint32_t i = 0; i < step.logprobs && logprobs_ < all.size(); ++i) logprobs.push_back(all[logprobs_++]);
        return events_.text(piece(step.bytes), std::move(logprobs));
      }
      case ResponseStep::Kind::kCallBegun:
        return begin_call();
      case ResponseStep::Kind::kArguments:
        if (function_) events_.arguments(piece(step.bytes));
        return;
      case ResponseStep::Kind::kCallEnded:
        kind_.clear();
        return events_.end_call();
    }
  }

 private:
  const Json& item() const { return output_[next_ - 1]; }

  void enter(const char* kind) {
    if (kind_ == kind) return;
    kind_ = kind;
    ++next_;
    at_ = logprobs_ = 0;
    if (kind_ == "message") {
      text_ = item()["content"][0]["text"].get<std::string>();
    } else {
      const bool summary = !item()["summary"].empty();
      text_ = item()[summary ? "summary" : "content"][0]["text"].get<std::string>();
    }
  }

  void begin_call() {
    kind_ = "call";
    ++next_;
    at_ = 0;
    const Json& call = item();
    const std::string type = call["type"].get<std::string>();
    const ClientTool* client = client_tool_of_call(type);
    ResponsesTool tool;
    tool.kind = client                       ? client->kind
                : type == "custom_tool_call" ? ResponsesToolKind::kCustom
                                             : ResponsesToolKind::kFunction;
    if (!client) tool.name = call["name"].get<std::string>();
    if (call.contains("namespace")) tool.name_space = call["namespace"].get<std::string>();
    function_ = tool.kind == ResponsesToolKind::kFunction;
    if (function_) text_ = call["arguments"].get<std::string>();
    events_.begin_call(std::move(tool), call["call_id"].get<std::string>());
    if (client) events_.arguments(dump_wire_json(call[std::string(client->member)]));
    if (!client && !function_) events_.arguments(dump_wire_json({{"input", call["input"]}}));
  }

  std::string_view piece(uint32_t bytes) {
    const std::string_view text = std::string_view(text_).substr(std::min(at_, text_.size()), bytes);
    at_ += bytes;
    return text;
  }

  static inline const Json kNothing = Json::array();
  const Json& output_;
  ResponseEvents& events_;
  std::string kind_, text_;
  size_t next_ = 0, at_ = 0, logprobs_ = 0;
  bool function_ = false;
};

}  // namespace

void replay_response(const StoredResponse& stored, const ResponseEvents::Sink& sink) {
  const Json& last = stored.response;
  Json blank = last;
  blank["status"] = "in_progress";
  for (const char* key : {"completed_at", "error", "incomplete_details", "usage"}) blank[key] = nullptr;
  ResponseEvents::Style style;
  std::vector<std::string> ids;
  if (stored.output) {
    for (const Json& item : stored.output->items) {
      ids.push_back(item["id"].get<std::string>());
      if (item["type"] == "reasoning" && !item["summary"].empty()) style.summary = true;
      if (item.contains("encrypted_content")) style.encrypted_content = true;
    }
  }
  ResponseEvents events(std::move(blank), style, sink);
  events.reuse_ids(std::move(ids));
  events.begin();
  Replay replay(stored, events);
  for (const ResponseStep& step : stored.steps) replay.take(step);
  events.end({last["status"].get<std::string>(), last["incomplete_details"], last["error"], last["usage"],
              last["completed_at"]});
}

}  // namespace lapidary::server
