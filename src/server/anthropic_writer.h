// Messages of the Anthropic dialect as they are written: one object, or a stream of events. server-api.md §3.3, §3.4.
#pragma once

#include <memory>
#include <string>

#include "server/anthropic_messages.h"

namespace lapidary::server {

struct MessagesWriterOptions {
  MessagesStyle style;
  std::string model;  // as requested
  int32_t prompt_tokens = 0;
  double keep_alive_seconds = 10;
};

std::unique_ptr<AnswerWriter> make_messages_writer(const Call& call, MessagesWriterOptions options);

}  // namespace lapidary::server
