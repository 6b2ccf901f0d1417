// Chat completions as they are written: one object, or a stream of chunks.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/openai_chat.h"
#include "server/openai_json.h"

namespace lapidary::server {

struct ChatWriterOptions {
  ChatStyle style;
  std::string model;  // as requested
  std::string fingerprint;
  int32_t prompt_tokens = 0, choices = 1;
  std::optional<int32_t> logprobs;
  bool legacy_functions = false;
  std::set<std::string> custom_tools;
  Measures measures;
  std::vector<int32_t> image_budgets;  // chosen by the server, for usage
};

std::unique_ptr<AnswerWriter> make_chat_writer(const Service& service, const Call& call, ChatWriterOptions options);

}  // namespace lapidary::server
