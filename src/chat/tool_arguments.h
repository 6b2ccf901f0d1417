// Reading a tool call as the model writes it: call:NAME{key:value,...}. Models make mistakes, so the reader repairs
// what has one sensible reading and refuses the rest.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "chat/messages.h"

namespace lapidary {

// Stands for the token <|"|> in the text of a call: a byte that valid UTF-8 never holds, so that characters which
// merely look like the token stay characters.
inline constexpr char kStringDelimiter = '\xff';

// The name of a call whose text has come as far as its first brace; empty before that, or when it is no call.
std::string_view tool_call_name(std::string_view text);

// text: what stood between <|tool_call> and <tool_call|>.
//   value := <|"|> characters <|"|> | {pairs} | [values] | number | true | false | null | bare words
// Repaired: missing closing brackets at the end; a last string without its end (the brackets at the end of the text are
// taken for those it swallowed); keys and strings in ordinary quotes; bare words, which are strings; none and nil,
// which are null. Integers of any size keep their digits. Keys stay in order; of two equal ones the last value stands.
// Errors: kInvalidArgument when there is no "call:NAME{", a key has no value, values nest deeper than
// kLimits.reply_call_depth_max, or text follows the last brace.
Result<ToolCall> parse_tool_call(std::string_view text);

}  // namespace lapidary
