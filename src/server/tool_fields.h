// Tool declarations and choices of the OpenAI dialect: server-api.md §2.4.
#pragma once

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/service.h"

namespace lapidary::server {

// Adds one function to the conversation's tools. parameters: null when it has none. Errors: a name of other characters
// than [A-Za-z0-9_.:/-], of more than 128, or given twice.
void add_function(const RequestReader& reader, std::string_view key, const std::string& name,
                  const std::string& description, const Json* parameters, bool strict, ChatRequest& request);
// One that takes free text: a function with the one parameter input. reader: the tool, of which description and format
// are read. A grammar is told to the model; a regex, where it can be honoured, holds the input from end to end, too.
void add_custom_tool(const RequestReader& reader, std::string_view key, const std::string& name, ChatRequest& request);

// The arguments of a call in a history, as history_arguments reads them; {} after an error.
Json call_arguments(const Service& service, const RequestReader& call, std::string_view key);
// {"name", "arguments"} of such a call.
ToolCall called_function(const Service& service, const RequestReader& function, std::optional<std::string> id);

// The input of a call of a custom tool.
std::string custom_input(const ToolCall& call);

// tools, functions, tool_choice, function_call, parallel_tool_calls of chat completions.
void read_tools(const Service& service, const RequestReader& reader, ChatRequest& request);

// tool_choice in the forms of chat completions and of Responses ({"type": "function", "name"}).
void read_tool_choice(const RequestReader& reader, ChatRequest& request);

// The whole list, by the rules of the prompt format. Errors: invalid_function_parameters.
void check_declared_tools(const Service& service, const RequestReader& reader, ChatRequest& request);

}  // namespace lapidary::server
