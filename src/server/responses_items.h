// Input items of the Responses dialect -> messages: server-api.md §2.9.2.
#pragma once

#include <string>
#include <string_view>

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/responses_tools.h"
#include "server/service.h"

namespace lapidary::server {

// Appends what one item says to request.conversation and request.media. A reasoning item, the text and the calls after
// it make one turn of the assistant. Kinds that nobody knows are left out, or refused under strict_tool_history.
void read_item(const Service& service, const RequestReader& item, const ResponsesTools& tools, ChatRequest& request);

// Turns that hold nothing but a thought say nothing; they are taken out.
void drop_bare_thoughts(ChatRequest& request);

// The thought of a reasoning item as `encrypted_content`: JSON in base64, for clients that keep their own history.
std::string seal_thought(std::string_view thought);
// nullopt: somebody else's.
std::optional<std::string> unseal_thought(std::string_view sealed);

// An item as it is listed: with an id, its type, and content as a list of parts.
Json listed_item(const Json& item);

}  // namespace lapidary::server
