// The chat page: GET / and what it loads.
#pragma once

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

// The page for those who prefer HTML, else one plain line that Ollama's clients look for (ruling R3).
void handle_root(Service& service, const Call& call);
void handle_page_file(Service& service, const Call& call);

}  // namespace lapidary::server
