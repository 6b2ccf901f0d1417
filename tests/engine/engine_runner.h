// One request through an engine, to the end.
#pragma once

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "golden_support/golden_case.h"

namespace lapidary::testing {

struct Answer {
  std::vector<int32_t> tokens;
  std::vector<TokenLogprob> logprobs, prompt_logprobs;
  std::string text;
  Event last;
};

inline std::unique_ptr<Engine> open_engine(const std::string& model, EngineOptions options) {
  options.model_path = golden_model(model).string();
  auto engine = Engine::open(options);
  if (!engine) ADD_FAILURE() << engine.error().message;
  return engine ? std::move(*engine) : nullptr;
}

inline GenerationRequest greedy_request(const GoldenCase& golden, int32_t tokens, int32_t top) {
  GenerationRequest request;
  request.prompt = golden.prompt;
  request.media = golden.media;
  request.tokens_max = tokens;
  request.sampling.temperature = 0;
  request.ignore_eos = true;
  request.logprobs = top;
  request.prompt_logprobs = true;
  return request;
}

inline Answer run(Engine& engine, GenerationRequest request) {
  Answer answer;
  const auto id = engine.submit(std::move(request), [&](const Event& event) {
    answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
    answer.logprobs.insert(answer.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
    answer.prompt_logprobs.insert(answer.prompt_logprobs.end(), event.prompt_logprobs.begin(),
                                  event.prompt_logprobs.end());
    answer.text += event.text;
    answer.last = event;
  });
  if (!id) {
    ADD_FAILURE() << id.error().message;
    return answer;
  }
  while (engine.step()) {
  }
  return answer;
}

}  // namespace lapidary::testing
