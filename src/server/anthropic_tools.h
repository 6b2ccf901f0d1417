// Tool declarations and choices of the Anthropic dialect: server-api.md §3.1.
#pragma once

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/service.h"

namespace lapidary::server {

// tools and tool_choice. Tools that Anthropic's own servers run are skipped, its bash and text editor become functions
// with the arguments that it publishes.
void read_anthropic_tools(const Service& service, const RequestReader& reader, ChatRequest& request);

}  // namespace lapidary::server
