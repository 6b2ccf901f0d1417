// Tools of the Responses dialect: what the model is told of each, and what a call of it is to the client. server-api.md
// §2.9.4.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/service.h"

namespace lapidary::server {

enum class ResponsesToolKind : uint8_t { kFunction, kCustom, kLocalShell, kShell, kApplyPatch };

struct ResponsesTool {
  ResponsesToolKind kind = ResponsesToolKind::kFunction;
  std::string name;        // as the client declared it
  std::string name_space;  // of a member of a namespace; empty otherwise
};

// By the name under which the model knows it.
using ResponsesTools = std::map<std::string, ResponsesTool>;

// A tool that the client runs by a protocol of its own. The model sees a function of that name whose parameters are
// those of `member` in the call item.
struct ClientTool {
  ResponsesToolKind kind;
  std::string_view name;         // also its type among the tools
  std::string_view call_type;    // of the item that calls it
  std::string_view output_type;  // of the item that answers
  std::string_view member;       // of the call item
  std::string_view id_prefix;
  std::string_view description;
  std::string_view parameters;  // JSON schema
};

// nullptr: none of that kind, type or item type.
const ClientTool* client_tool(ResponsesToolKind kind);
const ClientTool* client_tool_of_type(std::string_view type);
const ClientTool* client_tool_of_call(std::string_view item_type);
const ClientTool* client_tool_of_output(std::string_view item_type);

// tools, tool_choice, parallel_tool_calls. Tools that only a hosted service could run are left out.
void read_responses_tools(const Service& service, const RequestReader& reader, ChatRequest& request,
                          ResponsesTools& tools);

// The name that the model knows; a name that nobody declared is made by the same rule.
std::string declared_name(const ResponsesTools& tools, std::string_view name, std::string_view name_space);

}  // namespace lapidary::server
