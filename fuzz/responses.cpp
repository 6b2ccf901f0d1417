// Bytes as the body of POST /v1/responses: read, kept, gone on from, and written as a prompt.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "engine/engine.h"
#include "prompt/media_shelf.h"
#include "server/responses_events.h"
#include "server/responses_items.h"
#include "server/responses_request.h"

namespace {

using namespace lapidary;
using namespace lapidary::server;

Service& service() {
  static Service* one = [] {
    EngineOptions options;
    options.model_path = LAPIDARY_SOURCE_DIR "/models/demo";
    options.context = 512;
    std::unique_ptr<Engine> engine = Engine::open(options).value();
    ProcessorOptions processor = model_processor_options(engine->model()).value();
    return new Service(std::move(engine), {}, std::move(processor));
  }();
  return *one;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  unseal_thought(text);
  const ApiResult<Json> body = parse_body(text);
  if (!body) return 0;
  ResponsesStore store(1 << 20, 3600);
  ApiResult<ResponsesRequest> request = read_responses_request(service(), store, *body);
  if (!request) {
    CHECK(!request.error().message.empty());
    return 0;
  }
  StoredResponse stored;
  stored.response = request->response;
  stored.input = request->items;
  store.put("resp_1", std::move(stored));
  const std::atomic<bool> never{false};
  (void)prepare_responses_prompt(service(), *request, never);
  // What was understood once is understood again.
  Json next = *body;
  next["previous_response_id"] = "resp_1";
  CHECK(read_responses_request(service(), store, next));
  store.erase("resp_1");
  CHECK(store.bytes() == 0);
  return 0;
}
