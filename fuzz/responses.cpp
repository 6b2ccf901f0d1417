// Bytes as the body of POST /v1/responses: read, kept, gone on from, and written as a prompt.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "demo_service.h"
#include "server/responses_events.h"
#include "server/responses_items.h"
#include "server/responses_request.h"

using namespace lapidary;
using namespace lapidary::server;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  unseal_thought(text);
  const ApiResult<Json> body = parse_body(text);
  if (!body) return 0;
  ResponsesStore store(1 << 20, 3600);
  ApiResult<ResponsesRequest> request = read_responses_request(testing::demo_service(), store, *body);
  if (!request) {
    CHECK(!request.error().message.empty());
    return 0;
  }
  StoredResponse stored;
  stored.response = request->response;
  stored.input = request->items;
  store.put("resp_1", std::move(stored));
  const std::atomic<bool> never{false};
  (void)prepare_responses_prompt(testing::demo_service(), *request, never);
  // What was understood once is understood again.
  Json next = *body;
  next["previous_response_id"] = "resp_1";
  CHECK(read_responses_request(testing::demo_service(), store, next));
  store.erase("resp_1");
  CHECK(store.bytes() == 0);
  return 0;
}
