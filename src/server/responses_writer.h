// Responses as they are written: one object, or a stream of events. server-api.md §2.9.5 and §2.9.6.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/answer.h"
#include "server/call.h"
#include "server/responses_events.h"
#include "server/responses_store.h"
#include "text/tokenizer.h"

namespace lapidary::server {

struct ResponsesWriterOptions {
  Json response;                        // blank, with its id and times
  std::vector<ResponseItemsPtr> items;  // of the conversation before it
  ResponsesTools tools;
  ResponseEvents::Style style;
  std::optional<int32_t> logprobs;
  bool stream = false, store = true;
  double keep_alive_seconds = 10;   // of silence: a comment
  double in_progress_seconds = 30;  // before the first item: an event, for clients that do not count comments
};

// The tokenizer and the store outlive the writer. As long as it lives, the store knows the response as running.
std::unique_ptr<AnswerWriter> make_responses_writer(const Tokenizer& tokenizer, ResponsesStore& store, const Call& call,
                                                    ResponsesWriterOptions options);

}  // namespace lapidary::server
