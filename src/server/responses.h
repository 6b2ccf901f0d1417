// /v1/responses: server-api.md §2.9.
#pragma once

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

void handle_responses(Service& service, const Call& call);
// {"object": "response.input_tokens", "input_tokens": n}: how long the prompt would be.
void handle_responses_count(Service& service, const Call& call);

// Of responses that are kept: {id}.
void handle_response(Service& service, const Call& call);  // the object, or with ?stream=true its events again
void handle_response_delete(Service& service, const Call& call);
void handle_response_items(Service& service, const Call& call);  // what it was given
void handle_response_cancel(Service& service, const Call& call);
// Nothing that this server has: a path below /v1/responses that is no id.
void handle_no_response(Service& service, const Call& call);

}  // namespace lapidary::server
