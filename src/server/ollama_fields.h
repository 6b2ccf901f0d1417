// Fields of the Ollama dialect: server-api.md §4.1 and §4.2.
#pragma once

#include <optional>
#include <string>

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/service.h"

namespace lapidary::server {

// model, or another field that holds it. Errors: missing, kModelNotFound.
std::string read_ollama_model(const Service& service, const RequestReader& reader, std::string_view key = "model");

// options: sampling, num_predict; what is meant for a runner is looked at for its type. Numbers may be text.
void read_ollama_options(const Service& service, const RequestReader& reader, ChatRequest& request);

// format: "json", a schema, or "" and null for none.
void read_ollama_format(const RequestReader& reader, ChatRequest& request);

void read_ollama_logprobs(const RequestReader& reader, ChatRequest& request);

// keep_alive in seconds: a number, or a duration ("5m", "1h30m", "-1s").
std::optional<double> read_keep_alive(const RequestReader& reader);
std::optional<double> parse_duration_seconds(std::string_view text);

// messages -> request.conversation and request.media. Results that name no call answer the first one of their tool
// that has no result yet.
void read_ollama_messages(const Service& service, const RequestReader& reader, ChatRequest& request);

// images: base64 of pictures, or of sound and video, whatever the field is called. They come before the parts that are
// added next.
void read_ollama_images(const Service& service, const RequestReader& message, std::vector<Part>& parts,
                        ChatRequest& request);

}  // namespace lapidary::server
