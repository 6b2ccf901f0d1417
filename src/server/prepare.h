// ChatRequest -> what the engine takes: media fetched and decoded, the prompt written, lengths checked, grammars
// compiled. Blocking; runs on a request worker.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "prompt/media_shelf.h"
#include "server/answer.h"
#include "server/chat_request.h"
#include "server/service.h"

namespace lapidary::server {

struct PreparedPrompt {
  PromptInput input;
  std::vector<MediaSummary> media;     // in the order of ChatRequest::media
  std::vector<int32_t> image_budgets;  // of each picture, in order
  // Where the reply goes on from text that the request already has, that text is in input.
};

// The prompt alone, for counting. Errors: of media; invalid_value where the format has no place for something.
ApiResult<PreparedPrompt> prepare_prompt(Service& service, const ChatRequest& request,
                                         const std::atomic<bool>& cancelled);

// param of errors about lengths: "messages", "input".
ApiResult<AnswerRequest> prepare_answer(Service& service, Surface surface, const ChatRequest& request,
                                        PreparedPrompt prompt, std::string_view param);

// The same for a prompt of tokens, without turns and without a reply format.
ApiResult<AnswerRequest> prepare_text(Service& service, Surface surface, const ChatRequest& request,
                                      std::vector<int32_t> tokens, std::string_view param);

// What a prompt that is too long is answered with; clients look for these words.
ApiError context_error(Surface surface, int64_t tokens, int64_t context, std::string_view param);

// An Error of the engine or of media in the terms of the API.
ApiError engine_error(const Error& error);

}  // namespace lapidary::server
