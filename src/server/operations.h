// Health, versions, load, tokenizer: server-api.md §5.1.
#pragma once

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

void handle_health(Service& service, const Call& call);
void handle_live(Service& service, const Call& call);
void handle_version(Service& service, const Call& call);
void handle_load(Service& service, const Call& call);
void handle_props(Service& service, const Call& call);
void handle_tokenize(Service& service, const Call& call);
void handle_detokenize(Service& service, const Call& call);
void handle_metrics(Service& service, const Call& call);
// 501: a chat model's states are no embeddings.
void handle_embeddings(Service& service, const Call& call);
void handle_switched_off(Service& service, const Call& call);

}  // namespace lapidary::server
