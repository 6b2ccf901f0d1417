// POST /v1/messages and /v1/messages/count_tokens: server-api.md §3.
#pragma once

#include "server/call.h"
#include "server/chat_request.h"
#include "server/service.h"

namespace lapidary::server {

// What only this surface's answers depend on.
struct MessagesStyle {
  bool stream = false;
  bool omit_thinking = false;  // thinking blocks come without their text
};

// The body as a request; one that is only counted needs no max_tokens. Errors: the first thing that is wrong with it.
ApiResult<ChatRequest> read_messages_request(const Service& service, const Json& body, bool only_counted,
                                             MessagesStyle& style);

void handle_messages(Service& service, const Call& call);
// {"input_tokens": n}: how long the prompt would be, exactly.
void handle_count_tokens(Service& service, const Call& call);

}  // namespace lapidary::server
