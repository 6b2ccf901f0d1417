// The shipped model behind a service, opened once for a test program.
#pragma once

#include "engine/engine.h"
#include "prompt/media_shelf.h"
#include "server/service.h"

namespace lapidary::server::testing {

constexpr int32_t kDemoContext = 1024;

inline Service& demo_service() {
  static Service* service = [] {
    EngineOptions engine_options;
    engine_options.model_path = LAPIDARY_SOURCE_DIR "/models/demo";
    engine_options.context = kDemoContext;
    std::unique_ptr<Engine> engine = Engine::open(engine_options).value();
    ProcessorOptions processor = model_processor_options(engine->model()).value();
    return new Service(std::move(engine), {}, processor);
  }();
  return *service;
}

}  // namespace lapidary::server::testing
