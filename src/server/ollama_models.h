// What an Ollama client asks about models, and what it may not do with them here: server-api.md §4, §4.3.
#pragma once

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

void handle_ollama_tags(Service& service, const Call& call);
void handle_ollama_running(Service& service, const Call& call);
void handle_ollama_show(Service& service, const Call& call);
void handle_ollama_version(Service& service, const Call& call);
// Of the model that is served: it is there already.
void handle_ollama_pull(Service& service, const Call& call);
void handle_ollama_unsupported(Service& service, const Call& call);

}  // namespace lapidary::server
