#include "cli/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/clock.h"
#include "base/limits.h"
#include "cli/terminal.h"

namespace lapidary::cli {
namespace {

// Takes the reference's rows one by one; false once there is nothing left to compare.
class Comparison {
 public:
  explicit Comparison(const AnswerRecord& record) : record_(record) {
    result_.answer_tokens = static_cast<int32_t>(record.tokens.size());
  }

  bool take(int32_t expected, std::span<const float> reference) {
    const size_t index = static_cast<size_t>(result_.tokens), begin = index * reference.size();
    if (begin + reference.size() > record_.logits.size()) return false;
    ++result_.tokens;
    for (size_t id = 0; id < reference.size(); ++id) {
      const double x = static_cast<double>(record_.logits[begin + id]), y = static_cast<double>(reference[id]);
      if (x == y) continue;
      const double difference = std::isfinite(x) && std::isfinite(y) ? std::abs(x - y) : INFINITY;
      if (difference <= result_.logit_difference_max) continue;
      result_.logit_difference_max = difference;
      result_.logit_difference_index = static_cast<int32_t>(index);
    }
    const int32_t token = record_.tokens[index];
    if (token == expected) return true;
    result_.difference = {static_cast<int32_t>(index), token, expected,
                          static_cast<double>(reference[static_cast<size_t>(expected)]) -
                              static_cast<double>(reference[static_cast<size_t>(token)])};
    return false;
  }

  const Verification& result() const { return result_; }

 private:
  const AnswerRecord& record_;
  Verification result_;
};

}  // namespace

void AnswerRecord::add(int32_t token, std::span<const float> row) {
  const bool complete = logits.size() == tokens.size() * row.size();
  const int64_t bytes = static_cast<int64_t>((logits.size() + row.size()) * sizeof(float));
  tokens.push_back(token);
  if (complete && bytes <= kLimits.verify_bytes_max) logits.insert(logits.end(), row.begin(), row.end());
}

Json Verification::json() const {
  Json json = {{"device", "reference"},
               {"tokens", tokens},
               {"answer_tokens", answer_tokens},
               {"logit_difference_max", std::isfinite(logit_difference_max) ? Json(logit_difference_max) : Json()},
               {"first_difference", Json()},
               {"reference_ms", reference_ms}};
  if (difference) {
    json["first_difference"] = {{"index", difference->index},
                                {"token", difference->token},
                                {"reference", difference->expected},
                                {"margin", difference->margin}};
  }
  return json;
}

std::string Verification::text() const {
  std::string line =
      difference ? fmt::format("token {} of the answer is {}, the reference drew {} (its logit is higher by {:.2g})",
                               difference->index, difference->token, difference->expected, difference->margin)
                 : fmt::format("{} of {} tokens compared, all as on the reference", tokens, answer_tokens);
  if (tokens > 0)
    line += fmt::format("; largest difference of a logit {:.2g}, at token {}", logit_difference_max,
                        logit_difference_index);
  return line;
}

Result<Verification> verify_answer(const EngineOptions& options, const GenerationRequest& request,
                                   const AnswerRecord& record) {
  const Stopwatch watch;
  EngineOptions reference = options;
  reference.device = "reference";
  reference.draft_path.clear();
  reference.draft_tokens.reset();
  reference.ops.kv_type = DType::kF32;
  reference.ops.precision = Precision::kFull;
  // The last token's K and V are never needed.
  reference.context = static_cast<int32_t>(request.prompt.size() + std::max<size_t>(record.tokens.size(), 1) - 1);
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::open(reference));

  Comparison comparison(record);
  GenerationRequest again = request;
  again.tokens_max = static_cast<int32_t>(record.tokens.size());
  bool more = again.tokens_max > 0;
  again.on_logits = [&](int32_t token, std::span<const float> logits) {
    more = more && comparison.take(token, logits);
  };
  ProgressLine progress("verifying: prompt");
  ASSIGN_OR_RETURN(const uint64_t id, engine->submit(std::move(again), [&](const Event& event) {
    if (event.prompt_done > 0) {
      progress.update(event.prompt_done, static_cast<int64_t>(request.prompt.size()));
    } else {
      progress.clear();
    }
  }));
  while (engine->step()) {
    if (!more || interrupted()) engine->cancel(id);
  }
  if (interrupted()) return Error{ErrorCode::kCancelled, "--verify: interrupted before the reference had answered"};
  Verification result = comparison.result();
  result.reference_ms = watch.milliseconds();
  return result;
}

}  // namespace lapidary::cli
