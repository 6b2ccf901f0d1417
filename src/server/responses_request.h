// The body of POST /v1/responses: server-api.md §2.9.1.
#pragma once

#include <string>
#include <vector>

#include "server/chat_request.h"
#include "server/prepare.h"
#include "server/responses_store.h"
#include "server/responses_tools.h"
#include "server/service.h"

namespace lapidary::server {

struct ResponsesRequest {
  ChatRequest chat;
  ResponsesTools tools;
  std::vector<ResponseItemsPtr> items;  // earlier responses' items, then the request's own
  bool store = true;
  bool truncate = false;           // the oldest items give way when the prompt is too long
  bool summary = false;            // thoughts are told as their summary
  bool encrypted_content = false;  // reasoning items carry their thought for the client to send back
  Json response;                   // the response object before anything is known of the answer
};

// Errors: the first thing that is wrong with the body; 404 previous_response_not_found, or not_found of an item.
ApiResult<ResponsesRequest> read_responses_request(const Service& service, ResponsesStore& store, const Json& body);

// Its prompt. With truncate, the oldest messages but the system's are left out until there is room for it and an
// answer.
ApiResult<PreparedPrompt> prepare_responses_prompt(Service& service, ResponsesRequest& request,
                                                   const std::atomic<bool>& cancelled);

}  // namespace lapidary::server
