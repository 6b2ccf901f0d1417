// POST /api/chat and /api/generate: server-api.md §4.1 and §4.2.
#pragma once

#include "server/call.h"
#include "server/chat_request.h"
#include "server/service.h"

namespace lapidary::server {

// The body as a request. Errors: the first thing that is wrong with it.
ApiResult<ChatRequest> read_ollama_chat(const Service& service, const Json& body);
ApiResult<ChatRequest> read_ollama_generate(const Service& service, const Json& body);

// The request without its oldest messages, up to `begin`; system messages at the head stay, as does the media of what
// is left.
ChatRequest without_history(const ChatRequest& request, size_t begin);

void handle_ollama_chat(Service& service, const Call& call);
void handle_ollama_generate(Service& service, const Call& call);

}  // namespace lapidary::server
