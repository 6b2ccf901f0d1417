// GET /v1/models and /v1/models/{id}, in the shapes that different clients decode: server-api.md §2.1.
#pragma once

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

void handle_models(Service& service, const Call& call);
void handle_model(Service& service, const Call& call);

}  // namespace lapidary::server
