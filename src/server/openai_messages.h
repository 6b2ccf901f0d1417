// Messages and content parts of the OpenAI dialect, with what vLLM, llama-server and Cerebras add: server-api.md §2.3.
#pragma once

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/service.h"

namespace lapidary::server {

// messages -> request.conversation and request.media, system messages in their places.
void read_messages(const Service& service, const RequestReader& reader, ChatRequest& request);

// One content part; also those of Responses (input_text, input_image, ...). Text goes to parts, media to request.media.
void read_part(const Service& service, const RequestReader& part, std::vector<Part>& parts, ChatRequest& request);

// content: a string, or a list of parts.
void read_content(const Service& service, const RequestReader& message, std::string_view key, Message& out,
                  ChatRequest& request);

// Adds a medium; too many of a kind fail.
int32_t add_media(const Service& service, const RequestReader& reader, MediaRef ref, ChatRequest& request);

}  // namespace lapidary::server
