// What every surface makes of its request, in the program's own words: a conversation, its media, how to sample, what
// the answer must be. Nothing here knows a dialect.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "chat/messages.h"
#include "engine/request.h"
#include "grammar/reply_constraint.h"
#include "model/generation_config.h"
#include "server/api_error.h"

namespace lapidary::server {

// A picture, sound or video as the request named it; its bytes come from MediaSource.
struct MediaRef {
  PartKind kind = PartKind::kImage;
  std::string url;  // data:, http(s):, file:, or base64 when allow_base64
  bool allow_base64 = false;
  std::optional<int32_t> image_tokens;  // of this picture; absent: the request's
  std::string param;                    // where it stood: "messages[0].content[1].image_url"
};

struct AnswerFormat {
  enum class Kind : uint8_t { kText, kJsonObject, kSchema, kRegex, kChoice };
  Kind kind = Kind::kText;
  Json schema;
  bool strict = true;  // what a schema asks and cannot be had is an error
  std::string regex;
  std::vector<std::string> choices;
  std::string param;  // the field that asked for it, for errors
};

struct ToolChoice {
  ToolUse use = ToolUse::kAllowed;
  std::vector<std::string> names;  // only these; empty: all
  bool parallel = true;
};

// Pictures whose budget is chosen from their size and the detail that was asked for.
inline constexpr int32_t kAutoImageTokens = -1;

struct ChatRequest {
  std::string model;  // as requested; empty: not named
  Conversation conversation;
  std::vector<MediaRef> media;  // Part::media is an index into it
  ToolChoice tool_choice;
  std::set<std::string> custom_tools;  // of free-form input: declared with one parameter, a string called input
  bool legacy_functions = false;       // asked for as functions and function_call
  AnswerFormat format;
  SamplingParams sampling;
  std::optional<uint64_t> seed;  // absent: drawn
  std::optional<int32_t> tokens_max;
  int32_t tokens_min = 0;
  std::vector<std::string> stop;  // of the answer's text
  std::vector<int32_t> stop_tokens;
  bool include_stop = false;
  bool ignore_eos = false;
  std::optional<std::vector<int32_t>> allowed_tokens;
  int32_t choices = 1;
  std::optional<int32_t> logprobs;  // K best; the chosen one as well
  bool prompt_logprobs = false;     // of the prompt's tokens as well
  int64_t thinking_budget = -1;     // tokens; -1: any
  bool continues_reply = false;     // the last message is the beginning of the reply
  bool use_prefix_cache = true;
  std::string cache_salt;
  std::optional<int32_t> image_tokens;  // budget of pictures that name none; kAutoImageTokens
  std::optional<int32_t> video_frames;
  std::optional<double> video_fps;
  bool stream = false;
};

// §1.8 of the API specification: the leading system messages become one, later ones are folded into what stands beside
// them (never hoisted: that would change the head of the prompt every turn). keep: they stay where they are.
void place_system_messages(std::vector<Message>& messages, bool keep);

// Results of calls move right behind the message with their calls, in the order of these; a result that answers no call
// before it becomes a user's message.
void place_results(std::vector<Message>& messages);

// The text of a message's parts, media left out.
std::string text_of(const Message& message);

// A tool call's arguments as they come in a history: JSON text of an object. Empty or null is {}; what cannot be read
// becomes {"_raw": text}, or with strict the error invalid_tool_call_history.
ApiResult<Json> history_arguments(const Json* value, bool strict, std::string_view param);

}  // namespace lapidary::server
