#include "engine/request_check.h"

#include <fmt/format.h>

#include <cmath>

#include "base/limits.h"
#include "model/soft_tokens.h"

namespace lapidary {
namespace {

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

Result<void> check_id(std::string_view what, size_t index, int32_t id, int32_t vocab) {
  if (id >= 0 && id < vocab) return {};
  return invalid(fmt::format("{} {}: expected an id in [0, {}), found {}", what, index, vocab, id));
}

Result<void> check_prompt(const GenerationRequest& request, const ModelConfig& config, int32_t context) {
  if (request.prompt.empty()) return invalid("the prompt is empty: expected at least one token");
  if (request.prompt.size() > static_cast<size_t>(context)) {
    return invalid(fmt::format("the prompt has {} tokens, the context holds {} (see --context; the model allows {})",
                               request.prompt.size(), context, config.positions_max));
  }
  for (size_t i = 0; i < request.prompt.size(); ++i)
    RETURN_IF_ERROR(check_id("prompt token", i, request.prompt[i], config.vocab));
  int32_t at = 0;
  for (const MediaSpan& span : request.media) {
    CHECK(span.input != nullptr && span.begin >= at && span.end > span.begin &&
          span.end <= static_cast<int32_t>(request.prompt.size()));
    CHECK(span.end - span.begin == span.input->rows);
    at = span.end;
    RETURN_IF_ERROR(check_media(config, *span.input));
  }
  return {};
}

Result<void> check_sampling(const SamplingParams& s, int32_t vocab) {
  if (!(s.temperature >= 0 && s.temperature <= 100) || !(s.top_p > 0 && s.top_p <= 1) ||
      !(s.min_p >= 0 && s.min_p <= 1) || s.top_k < 0) {
    return invalid(
        fmt::format("sampling: expected temperature in [0, 100], top-p in (0, 1], min-p in [0, 1], top-k >= 0; found "
                    "{}, {}, {}, {}",
                    s.temperature, s.top_p, s.min_p, s.top_k));
  }
  if (!(std::abs(s.frequency_penalty) <= 2) || !(std::abs(s.presence_penalty) <= 2) ||
      !(s.repetition_penalty > 0 && s.repetition_penalty <= 100) || s.repetition_window < -1) {
    return invalid(fmt::format(
        "sampling: expected frequency and presence penalties in [-2, 2], a repetition penalty in (0, 100], a "
        "repetition window of at least -1; found {}, {}, {}, {}",
        s.frequency_penalty, s.presence_penalty, s.repetition_penalty, s.repetition_window));
  }
  if (s.logit_bias.size() > static_cast<size_t>(kLimits.logit_biases_max)) {
    return invalid(fmt::format("logit bias: expected at most {} entries, found {}", kLimits.logit_biases_max,
                               s.logit_bias.size()));
  }
  for (size_t i = 0; i < s.logit_bias.size(); ++i) {
    const auto& [token, bias] = s.logit_bias[i];
    RETURN_IF_ERROR(check_id("logit bias", i, token, vocab));
    if (!(std::abs(bias) <= 100))
      return invalid(fmt::format("logit bias of token {}: expected -100 to 100, found {}", token, bias));
  }
  return {};
}

Result<void> check_answer(const GenerationRequest& request, int32_t vocab) {
  if (request.tokens_max < 0)
    return invalid(fmt::format("--max-tokens: expected 0 or more, found {}", request.tokens_max));
  if (request.tokens_min < 0)
    return invalid(fmt::format("least tokens: expected 0 or more, found {}", request.tokens_min));
  if (request.logprobs && (*request.logprobs < 0 || *request.logprobs > kLimits.logprobs_max)) {
    return invalid(fmt::format("--logprobs: expected 0 to {}, found {}", kLimits.logprobs_max, *request.logprobs));
  }
  if (request.stop.size() > static_cast<size_t>(kLimits.stop_strings_max)) {
    return invalid(
        fmt::format("--stop: expected at most {} strings, found {}", kLimits.stop_strings_max, request.stop.size()));
  }
  if (request.stop_tokens.size() > static_cast<size_t>(kLimits.stop_tokens_max)) {
    return invalid(
        fmt::format("stop tokens: expected at most {}, found {}", kLimits.stop_tokens_max, request.stop_tokens.size()));
  }
  for (size_t i = 0; i < request.stop_tokens.size(); ++i)
    RETURN_IF_ERROR(check_id("stop token", i, request.stop_tokens[i], vocab));
  if (request.choices < 1 || request.choices > kLimits.choices_max)
    return invalid(fmt::format("choices: expected 1 to {}, found {}", kLimits.choices_max, request.choices));
  CHECK(request.constraints.empty() || request.constraints.size() == static_cast<size_t>(request.choices));
  return {};
}

}  // namespace

Result<void> check_request(const GenerationRequest& request, const ModelConfig& config, int32_t context) {
  RETURN_IF_ERROR(check_prompt(request, config, context));
  RETURN_IF_ERROR(check_answer(request, config.vocab));
  return check_sampling(request.sampling, config.vocab);
}

}  // namespace lapidary
