// Answers of the Ollama dialect as they are written: one object, or a stream of one object a line. server-api.md §4.1.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "server/call.h"
#include "server/service.h"

namespace lapidary::server {

struct OllamaWriterOptions {
  bool generate = false;  // /api/generate: response and thinking in place of message
  bool stream = true;
  std::string model;  // as requested
  std::optional<int32_t> logprobs;
  double keep_alive_seconds = 10;
};

// An object without anything said yet: {model, created_at, message or response, done}.
Json ollama_object(const OllamaWriterOptions& options, bool done);

std::unique_ptr<AnswerWriter> make_ollama_writer(const Service& service, const Call& call, OllamaWriterOptions options);

}  // namespace lapidary::server
