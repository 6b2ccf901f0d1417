// run: one answer, streamed to stdout.
#include <fmt/format.h>

#include <memory>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/answer_grammar.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/prompt_input.h"
#include "cli/reply_printer.h"
#include "cli/result_json.h"
#include "cli/terminal.h"
#include "cli/verify.h"

namespace lapidary::cli {
namespace {

struct RunOptions {
  ModelOptions model;
  PromptOptions prompt;
  SamplingOptions sampling;
  std::optional<int32_t> logprobs;
  AnswerGrammarOptions grammar;
  std::string format = "text", verify;
};

Json reply_json(const ReplyPrinter& printer) {
  Json calls = Json::array();
  for (const ToolCall& call : printer.reply().tool_calls)
    calls.push_back({{"name", call.name}, {"arguments", call.arguments}});
  return calls;
}

void print_json(const Engine& engine, const std::vector<int32_t>& prompt, const ReplyPrinter& printer,
                bool with_logprobs, const Timing& timing, double load_ms, const std::optional<Verification>& verified) {
  Json json = {{"model", engine.model().dir().path.string()},
               {"variant", engine.model().config().variant},
               {"prompt_tokens", prompt},
               {"tokens", printer.tokens()},
               {"text", printer.reply().text},
               {"thought", printer.reply().thought},
               {"tool_calls", reply_json(printer)},
               {"finish_reason", printer.finish_reason()}};
  if (with_logprobs) {
    json["logprobs"] = Json::array();
    for (const TokenLogprob& entry : printer.logprobs()) json["logprobs"].push_back(logprob_json(entry));
  }
  json["usage"] = usage_json(printer.last().usage);
  json["timing"] = timing_json(timing, load_ms);
  if (printer.last().speculation) {
    json["timing"]["draft_ms"] = timing.draft_ms;  // of decode_ms
    json["speculation"] = speculation_json(*printer.last().speculation);
  }
  if (verified) json["verify"] = verified->json();
  write_out(dump_json(json) + "\n");
}

Result<void> run(const RunOptions& options) {
  ReplyRules rules{.tools_name = options.prompt.tools_path, .think = options.prompt.think};
  ASSIGN_OR_RETURN(rules.answer, options.grammar.compile());
  const Stopwatch load;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, options.model.open_engine());
  const double load_ms = load.milliseconds();
  spdlog::info("{}: {} positions, {}", engine->model().dir().path.string(), engine->memory().context,
               engine->description());
  ASSIGN_OR_RETURN(PromptInput input, options.prompt.build(*engine));
  if (!options.prompt.tools_path.empty()) {
    ASSIGN_OR_RETURN(rules.tools, read_tools(options.prompt.tools_path));
  }
  const std::vector<int32_t> prompt = input.tokens;
  const bool as_json = options.format == "json";

  GenerationRequest request;
  request.prompt = std::move(input.tokens);
  request.media = std::move(input.spans);
  request.sampling = options.sampling.params(engine->model().generation_defaults());
  request.tokens_max = options.sampling.max_tokens > 0 ? options.sampling.max_tokens : engine->memory().context;
  request.stop = options.sampling.stop;
  request.ignore_eos = options.sampling.ignore_eos;
  request.logprobs = options.logprobs;
  // Past its end token a reply has no format any more: it is shown as it comes.
  const bool chat = input.chat && !request.ignore_eos;
  ReplyPrinter printer(engine->tokenizer(),
                       {.chat = chat, .thought_open = input.thought_open, .print = !as_json, .stop = request.stop});
  ASSIGN_OR_RETURN(request.constraints, answer_constraints(rules, input, *engine));
  GenerationRequest asked;
  if (!options.verify.empty()) {
    asked = request;
    ASSIGN_OR_RETURN(asked.constraints, answer_constraints(rules, input, *engine));
  }
  AnswerRecord record;
  if (!options.verify.empty()) {
    request.on_logits = [&](int32_t token, std::span<const float> logits) { record.add(token, logits); };
  }
  ProgressLine progress("prompt");
  ASSIGN_OR_RETURN(const uint64_t id, engine->submit(std::move(request), [&](const Event& event) {
    if (event.prompt_done > 0) {
      progress.update(event.prompt_done, static_cast<int64_t>(prompt.size()));
    } else {
      progress.clear();
    }
    printer.take(event);
  }));
  while (engine->step()) {
    if (interrupted() || printer.reader_gone()) engine->cancel(id);
  }
  std::optional<Verification> verified;
  if (!options.verify.empty() && !interrupted()) {
    ASSIGN_OR_RETURN(const EngineOptions engine_options, options.model.engine_options());
    ASSIGN_OR_RETURN(verified, verify_answer(engine_options, asked, record));
  }

  Timing timing = printer.last().timing;
  timing.media_ms += input.media_ms;
  if (as_json) print_json(*engine, prompt, printer, options.logprobs.has_value(), timing, load_ms, verified);
  const Usage& usage = printer.last().usage;
  if (usage.completion_tokens > 1) {
    spdlog::info(
        "load {:.0f} ms, media {:.0f} ms, prompt {} tokens in {:.0f} ms ({:.1f} tok/s), answer {} tokens in {:.0f} ms "
        "({:.1f} tok/s)",
        load_ms, timing.media_ms, usage.prompt_tokens, timing.prefill_ms, usage.prompt_tokens / timing.prefill_ms * 1e3,
        usage.completion_tokens, timing.decode_ms, (usage.completion_tokens - 1) / timing.decode_ms * 1e3);
  }
  if (const auto& report = printer.last().speculation; report && report->rounds > 0) {
    spdlog::info(
        "drafter {}: {} of {} drafted tokens accepted in {} rounds, {:.2f} tokens a round, {:.0f} ms for the drafts",
        engine->draft_source()->description(), report->accepted, report->proposed, report->rounds,
        1 + static_cast<double>(report->accepted) / static_cast<double>(report->rounds), timing.draft_ms);
  }
  if (verified && verified->difference)
    return Error{ErrorCode::kInvalidArgument, fmt::format("--verify reference: {}", verified->text())};
  if (verified) fmt::print(stderr, "verify: {}\n", verified->text());
  return {};
}

}  // namespace

void add_run(CLI::App& program, Action& action) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = add_command(program, "run",
                                  "One answer, streamed to stdout.\n\n"
                                  "  lapidary run \"Who are you?\"\n"
                                  "  lapidary run --image cat.jpg --image dog.jpg \"What differs?\"\n"
                                  "  lapidary run --audio memo.m4a \"Transcribe the recording.\"\n"
                                  "  lapidary run --tools tools.json \"What is the weather in Paris?\" --format json\n"
                                  "  lapidary run --json-schema person.json \"Invent a person.\"\n"
                                  "  lapidary run --regex \"yes|no\" \"Is 91 a prime number?\"\n"
                                  "  git diff | lapidary run --system \"You review code.\"");
  options->prompt.add_to(*command);
  options->sampling.add_to(*command);
  command->add_option("--logprobs", options->logprobs, "with --format json: the K best tokens at each position")
      ->check(CLI::Range(0, 64));
  options->grammar.add_to(*command);
  command
      ->add_option(
          "--verify", options->verify,
          "reference: answer once more in double precision, without drafts, and say what differs (status 1 if a "
          "token does)")
      ->type_name("DEVICE")
      ->check(CLI::IsMember({"reference"}));
  command->add_option("--format", options->format, "text, or json: one object on one line")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  options->model.add_to(*command);
  command->callback([=, &action] {
    action = [=] {
      const auto done = run(*options);
      return done ? kExitDone : fail(done.error());
    };
  });
}

}  // namespace lapidary::cli
