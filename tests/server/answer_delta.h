// What an answer grows by, for tests of the writers.
#pragma once

#include <string>
#include <utility>

#include "server/choice_reader.h"

namespace lapidary::server::testing {

// call: of a call, its place; its id follows from it.
inline AnswerDelta delta(AnswerDelta::Kind kind, std::string text = "", int32_t call = 0) {
  AnswerDelta made;
  made.kind = kind;
  made.text = std::move(text);
  made.call_index = call;
  made.call_id = "call_" + std::to_string(call);
  return made;
}

}  // namespace lapidary::server::testing
