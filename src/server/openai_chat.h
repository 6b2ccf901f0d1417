// POST /v1/chat/completions: server-api.md §2.2 to §2.8.
#pragma once

#include <memory>

#include "server/call.h"
#include "server/chat_request.h"
#include "server/service.h"

namespace lapidary::server {

enum class ReasoningFormat : uint8_t {
  kSeparate,  // in fields of its own
  kHidden,    // counted, not sent
  kRaw,       // everything in content, markers included
  kBoth,      // in fields of its own and in content
};

// What only this surface's answers depend on.
struct ChatStyle {
  bool stream = false, include_usage = false, continuous_usage = false;
  bool timings_per_token = false, progress = false, return_tokens = false;
  ReasoningFormat reasoning = ReasoningFormat::kSeparate;
  double keep_alive_seconds = 10;
};

// The body as a request. Errors: the first thing that is wrong with it.
ApiResult<ChatRequest> read_chat_request(const Service& service, const Json& body, ChatStyle& style);

void handle_chat(Service& service, const Call& call);
// {"input_tokens": n}: how long the prompt would be.
void handle_chat_count(Service& service, const Call& call);
// {"prompt": text}: the prompt as the model's template renders it.
void handle_apply_template(Service& service, const Call& call);

}  // namespace lapidary::server
