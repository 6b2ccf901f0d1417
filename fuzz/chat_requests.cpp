// Bytes as the body of a chat request, in every dialect: what is read can be written as a prompt.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "chat/prompt_writer.h"
#include "demo_service.h"
#include "server/anthropic_messages.h"
#include "server/ollama_chat.h"
#include "server/ollama_fields.h"
#include "server/openai_chat.h"
#include "server/request_reader.h"

namespace {

using namespace lapidary;
using namespace lapidary::server;

void check(const ApiResult<ChatRequest>& request) {
  if (!request) {
    CHECK(!request.error().message.empty());
    return;
  }
  prompt_text(request->conversation);
  for (const Message& message : request->conversation.messages) {
    for (const Part& part : message.parts)
      CHECK(part.kind == PartKind::kText || static_cast<size_t>(part.media) < request->media.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_duration_seconds(text);
  const ApiResult<Json> body = parse_body(text);
  if (!body) return 0;
  ChatStyle chat;
  check(read_chat_request(testing::demo_service(), *body, chat));
  MessagesStyle messages;
  check(read_messages_request(testing::demo_service(), *body, true, messages));
  check(read_ollama_chat(testing::demo_service(), *body));
  check(read_ollama_generate(testing::demo_service(), *body));
  return 0;
}
