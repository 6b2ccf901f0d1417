// Messages and content blocks of the Anthropic dialect: server-api.md §3.2 and §1.8.
#pragma once

#include <string>
#include <string_view>

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/service.h"

namespace lapidary::server {

// system and messages -> request.conversation and request.media: results beside the calls they answer, system messages
// in their places. A last message of the assistant's text is the beginning of the reply.
void read_anthropic_messages(const Service& service, const RequestReader& reader, ChatRequest& request);

// Claude Code begins its system text with a line that differs in every request: kept, no two prompts had a common
// prefix.
std::string without_billing_header(std::string_view text);

}  // namespace lapidary::server
