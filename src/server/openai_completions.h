// POST /v1/completions: text or tokens go on, without turns and without a reply format. server-api.md §2.10.
#pragma once

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

void handle_completions(Service& service, const Call& call);

}  // namespace lapidary::server
