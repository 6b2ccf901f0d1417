// A response as it grows: its items, and the events that tell of them. server-api.md §2.9.3 and §2.9.5.
//
// Streams, whole answers and replays are made here and nowhere else, so that they say the same.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "server/responses_store.h"
#include "server/responses_tools.h"

namespace lapidary::server {

class ResponseEvents {
 public:
  struct Style {
    bool summary = false;            // thoughts are told as their summary
    bool encrypted_content = false;  // reasoning items carry what the client may send back
  };
  struct End {
    std::string status;  // completed, incomplete, cancelled, failed
    Json incomplete_details, error, usage, completed_at;
  };
  using Sink = std::function<void(const Json& event, std::string_view type)>;

  // blank: the response without output, in progress. sink: absent when nobody listens.
  ResponseEvents(Json blank, Style style, Sink sink)
      : response_(std::move(blank)), style_(style), sink_(std::move(sink)) {}

  // Ids of the items to come, for a response that had them before.
  void reuse_ids(std::vector<std::string> ids) { ids_ = std::move(ids); }

  // Who listens from now on, if anybody does.
  void redirect(Sink sink) {
    if (sink_) sink_ = std::move(sink);
  }

  void begin();
  // Tells once more that it is in progress. Later than the first item clients would start over; then nothing is told.
  void in_progress();
  bool has_items() const { return kind_ != Kind::kNone || !response_["output"].empty(); }

  void thought(std::string_view more);
  void text(std::string_view more, Json logprobs);  // logprobs: a list
  void begin_call(ResponsesTool tool, const std::string& call_id);
  void arguments(std::string_view more);
  void end_call();
  bool in_call() const { return kind_ == Kind::kCall; }
  void end(End end);

  const Json& response() const { return response_; }
  const std::vector<ResponseStep>& steps() const { return steps_; }

 private:
  enum class Kind : uint8_t { kNone, kThought, kText, kCall };

  void send(std::string_view type, Json members);
  void send_response(std::string_view type);
  void send_part(std::string_view type, Json members);
  void open(Kind kind, std::string_view id_prefix, Json item);
  void close(std::string_view status);
  // A call that was not ended by end_call() was cut.
  std::string_view natural_status() const { return kind_ == Kind::kCall ? "incomplete" : "completed"; }
  void close_thought();
  void close_text();
  void close_call();
  void keep_open_item();
  std::string next_id(std::string_view prefix);
  size_t index() const { return response_["output"].size(); }  // of the open item

  Json response_;
  Style style_;
  Sink sink_;
  std::vector<std::string> ids_;
  size_t ids_used_ = 0;
  int64_t sequence_ = 0;
  std::vector<ResponseStep> steps_;

  Kind kind_ = Kind::kNone;
  Json item_;
  std::string text_;  // of the open item; of a call its arguments as JSON text
  Json logprobs_ = Json::array();
  ResponsesTool tool_;
};

// The events of a response that is complete, as they were.
void replay_response(const StoredResponse& stored, const ResponseEvents::Sink& sink);

}  // namespace lapidary::server
