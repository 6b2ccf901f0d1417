// score: what the model gives to the tokens of a prompt; generates nothing.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/prompt_input.h"
#include "cli/result_json.h"
#include "cli/terminal.h"

namespace lapidary::cli {
namespace {

struct ScoreOptions {
  ModelOptions model;
  PromptOptions prompt;
  int32_t logprobs = 0;
  std::string format = "text";
};

Result<void> score(const ScoreOptions& options) {
  const Stopwatch load;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, options.model.open_engine());
  const double load_ms = load.milliseconds();
  ASSIGN_OR_RETURN(PromptInput input, options.prompt.build(*engine));
  const std::vector<int32_t> prompt = input.tokens;
  GenerationRequest request;
  request.prompt = std::move(input.tokens);
  request.media = std::move(input.spans);
  request.sampling.temperature = 0;
  request.prompt_logprobs = true;
  request.logprobs = options.logprobs;
  std::vector<TokenLogprob> all;
  Event last;
  ProgressLine progress("scoring");
  ASSIGN_OR_RETURN(const uint64_t id, engine->submit(std::move(request), [&](const Event& event) {
    all.insert(all.end(), event.prompt_logprobs.begin(), event.prompt_logprobs.end());
    last = event;
    progress.update(static_cast<int64_t>(all.size()), static_cast<int64_t>(prompt.size()));
  }));
  while (engine->step()) {
    if (interrupted()) engine->cancel(id);
  }
  progress.clear();
  if (last.finish == FinishReason::kCancelled) return Error{ErrorCode::kCancelled, "interrupted"};
  double sum = 0;
  for (const TokenLogprob& entry : all) sum += entry.logprob;
  const double perplexity = all.empty() ? 1.0 : std::exp(-sum / static_cast<double>(all.size()));
  last.timing.media_ms += input.media_ms;
  if (options.format == "json") {
    Json json = {{"model", engine->model().dir().path.string()},
                 {"variant", engine->model().config().variant},
                 {"prompt_tokens", prompt}};
    json["logprobs"] = Json::array({nullptr});
    for (const TokenLogprob& entry : all) json["logprobs"].push_back(logprob_json(entry));
    json["perplexity"] = perplexity;
    json["usage"] = usage_json(last.usage);
    json["timing"] = timing_json(last.timing, load_ms);
    write_out(dump_json(json) + "\n");
    return {};
  }
  std::string out;
  for (const TokenLogprob& entry : all) {
    out += fmt::format("{:>10.4f}  {:>7}  {}", entry.logprob, entry.token,
                       json_string(engine->tokenizer().bytes_of(entry.token)));
    for (const auto& [token, logprob] : entry.top)
      out += fmt::format("   {} {:.4f}", json_string(engine->tokenizer().bytes_of(token)), logprob);
    out += "\n";
  }
  out += fmt::format("perplexity {:.4f} over {} tokens\n", perplexity, all.size());
  write_out(out);
  return {};
}

}  // namespace

void add_score(CLI::App& program, Action& action) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command = add_command(program, "score",
                                  "Log-probabilities the model gives to a prompt's tokens, and its perplexity.\n\n"
                                  "  lapidary score --raw \"The quick brown fox\"\n"
                                  "  lapidary score --prompt-tokens 2,105,2364 --logprobs 5 --format json");
  options->prompt.add_to(*command);
  command->add_option("--logprobs", options->logprobs, "the K best tokens at each position")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command->add_option("--format", options->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  options->model.add_to(*command);
  command->callback([=, &action] {
    action = [=] {
      options->model.without_default_drafter();
      const auto done = score(*options);
      return done ? kExitDone : fail(done.error());
    };
  });
}

}  // namespace lapidary::cli
