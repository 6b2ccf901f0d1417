// The sampling and format fields that the OpenAI, vLLM and llama-server dialects share: server-api.md §2.2, §2.5, §5.3.
#pragma once

#include "server/chat_request.h"
#include "server/request_reader.h"
#include "server/service.h"

namespace lapidary::server {

// Defaults of the model's publisher.
void default_sampling(const Service& service, ChatRequest& request);

// temperature, top_p, top_k, min_p, penalties, logit_bias, seed, stop, stop_token_ids, ignore_eos, min_tokens,
// allowed_token_ids, bad_words, cache_prompt, cache_salt, n, options.*.
void read_sampling(const Service& service, const RequestReader& reader, ChatRequest& request);

// max_completion_tokens, max_tokens, n_predict; the first of them that is there. -1: as many as fit.
void read_tokens_max(const RequestReader& reader, int64_t min, ChatRequest& request);

// response_format, structured_outputs, guided_*, json_schema, grammar. At most one of them.
void read_format(const RequestReader& reader, ChatRequest& request);
// {"type": "json_schema", ...} and its kin; flat: name and schema stand beside type (Responses).
void read_format_object(const RequestReader& format, bool flat, ChatRequest& request);

// What there is of §1.9's fields decides whether the model thinks, and with which budget.
void read_thinking(const Service& service, const RequestReader& reader, Surface surface, ChatRequest& request);
// "low" -> 1024, ...; -1: no bound. nullopt: no such word.
std::optional<int64_t> effort_budget(std::string_view effort);

// image_tokens, mm_processor_kwargs {max_soft_tokens, num_frames, fps}, media_io_kwargs.
void read_media_options(const RequestReader& reader, ChatRequest& request);

}  // namespace lapidary::server
