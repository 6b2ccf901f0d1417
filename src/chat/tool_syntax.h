// Writing values, tool calls, tool results and tool declarations in Gemma 4's own syntax. Strings stand between two
// <|"|> tokens and are never escaped; keys are sorted without regard to case, at every level.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "chat/messages.h"
#include "chat/prompt_items.h"

namespace lapidary {

// A number as Python's str() prints it: 20, 1.0, 1.5e-05, 1e+16, every digit of a large integer.
std::string number_text(const Json& number);

// <|tool_call>call:NAME{key:value,...}<tool_call|>
void write_tool_call(const ToolCall& call, PromptItems& out);

// <|tool_response>response:NAME{...}<tool_response|>: an object as key:value pairs, anything else as value:...; a name
// that is empty prints as unknown.
void write_tool_response(std::string_view name, const Json& response, PromptItems& out);

// <|tool>declaration:NAME{...}<tool|> of {"type": "function", "function": {...}} or a bare function.
// repair closes what the published template leaves open when a schema has no type, and takes null for absent.
void write_tool_declaration(const Json& tool, bool repair, PromptItems& out);

}  // namespace lapidary
