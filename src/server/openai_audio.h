// POST /v1/audio/transcriptions and /v1/audio/translations: server-api.md §2.12.
#pragma once

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

void handle_transcription(Service& service, const Call& call);
void handle_translation(Service& service, const Call& call);

}  // namespace lapidary::server
