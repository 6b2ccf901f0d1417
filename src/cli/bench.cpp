// bench: prefill and decode speed of a model on this machine, beside the read bandwidth measured in the same minute.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/json.h"
#include "base/limits.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "cli/bench_media.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "media/audio_file.h"
#include "media/options.h"
#include "model/decoder.h"
#include "model/weight_counts.h"
#include "ops/select/select.h"

namespace lapidary::cli {
namespace {

struct BenchOptions {
  ModelOptions model;
  std::vector<int32_t> prompts = {512};
  std::vector<int32_t> depths = {0};
  std::vector<int32_t> pictures, sounds;  // soft-token budgets; seconds
  int32_t generate = 32, repeat = 3;
  bool verify = false;
  std::string format = "table";
};

// K and V that the token at position `depth` reads.
double kv_read_bytes(const ModelConfig& config, DType type, int32_t depth) {
  const KvLayout layout = kv_layout(config);
  const auto per_position = [&](AttentionKind kind) {
    return static_cast<double>(kv_page_bytes(layout.groups[static_cast<size_t>(kind)], type)) / kPagePositions;
  };
  return per_position(AttentionKind::kGlobal) * depth +
         per_position(AttentionKind::kSliding) * std::min(depth, config.sliding_window);
}

// Ordinary ids, the same in every run; never the special ones at the start of the vocabulary.
std::vector<int32_t> random_prompt(int32_t tokens, int32_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = vocab / 2 + static_cast<int32_t>(hash_counter(11, i, 0) % static_cast<uint64_t>(vocab - vocab / 2));
  }
  return ids;
}

// Drafts that are there to be verified: how long that takes does not depend on whether they are right.
class FixedDrafts final : public DraftSource {
 public:
  explicit FixedDrafts(int32_t count) : count_(count) {}
  void propose(std::span<DraftTask> tasks) override {
    for (DraftTask& task : tasks)
      task.drafts.assign(static_cast<size_t>(std::min(count_, task.most)), task.sequence->tokens.back());
  }
  std::string description() const override { return "fixed"; }

 private:
  int32_t count_;
};

struct Run {
  Usage usage;
  Timing timing;
  int64_t rounds = 0;  // steps after the prompt, when drafts were verified
};

// drafts: left to be verified when the answer is cut, so that every step had as many.
Result<Run> generate(Engine& engine, int32_t prompt_tokens, int32_t tokens, int32_t drafts = 0) {
  GenerationRequest request;
  request.prompt = random_prompt(prompt_tokens, engine.model().config().vocab);
  request.tokens_max = tokens + drafts;
  request.ignore_eos = true;
  request.sampling.temperature = 0;
  request.use_prefix_cache = false;  // every repetition does the whole work
  Run run;
  int32_t generated = 0;
  ASSIGN_OR_RETURN(const uint64_t id, engine.submit(std::move(request), [&](const Event& event) {
    generated += static_cast<int32_t>(event.tokens.size());
    run.usage = event.usage;
    run.timing = event.timing;
    if (event.speculation) run.rounds = event.speculation->rounds;
  }));
  while (engine.step()) {
    if (interrupted() || generated >= tokens) engine.cancel(id);
  }
  return run;
}

Result<Measurement> measure_prefill(Engine& engine, const BenchOptions& options, int32_t tokens) {
  std::vector<double> speeds;
  for (int32_t r = 0; r < options.repeat && !interrupted(); ++r) {
    ASSIGN_OR_RETURN(const Run run, generate(engine, tokens, 1));
    speeds.push_back(tokens / (run.timing.prefill_ms / 1e3));
  }
  if (speeds.empty()) return Error{ErrorCode::kCancelled, "interrupted"};
  Measurement m{fmt::format("prefill {}", tokens), median(speeds)};
  m.flop_per_token = 2.0 * static_cast<double>(prompt_weights(engine.model().weights(), engine.model().config()));
  return m;
}

Result<Measurement> measure_decode(Engine& engine, const BenchOptions& options, int threads, int32_t depth) {
  std::vector<double> speeds, limits;
  for (int32_t r = 0; r < options.repeat && !interrupted(); ++r) {
    const double before = measured_read_bandwidth(threads);
    // The first token comes from the prompt's last row; the others are decode steps.
    ASSIGN_OR_RETURN(const Run run, generate(engine, std::max(depth, 1), options.generate + 1));
    const double after = measured_read_bandwidth(threads);
    speeds.push_back((run.usage.completion_tokens - 1) / (run.timing.decode_ms / 1e3));
    limits.push_back((before + after) / 2);
  }
  if (speeds.empty()) return Error{ErrorCode::kCancelled, "interrupted"};
  const double bytes = static_cast<double>(engine.model().weights().bytes_per_token) +
                       kv_read_bytes(engine.model().config(), options.model.kv == "f32" ? DType::kF32 : DType::kBF16,
                                     depth + options.generate / 2);
  return Measurement{fmt::format("decode {} @ {}", options.generate, depth), median(speeds), bytes, median(limits)};
}

// Steps that verify `rows` tokens: the newest and rows - 1 drafts. Speed counts every row.
Result<Measurement> measure_verification(Engine& engine, const BenchOptions& options, int32_t depth, int32_t rows,
                                         double single_ms) {
  std::vector<double> step_ms;
  engine.set_draft_source(std::make_unique<FixedDrafts>(rows - 1));
  for (int32_t r = 0; r < options.repeat && !interrupted(); ++r) {
    ASSIGN_OR_RETURN(const Run run, generate(engine, std::max(depth, 1), options.generate + 1, rows));
    if (run.rounds > 0) step_ms.push_back(run.timing.decode_ms / static_cast<double>(run.rounds));
  }
  engine.set_draft_source(nullptr);
  if (step_ms.empty()) return Error{ErrorCode::kCancelled, "interrupted"};
  const double ms = median(step_ms);
  Measurement m{fmt::format("verify {} @ {}", rows, depth), rows / ms * 1e3};
  m.cost = single_ms > 0 ? ms / single_ms : 1;
  return m;
}

void print(const BenchOptions& options, const Engine& engine, const std::vector<Measurement>& all) {
  const Style& style = stdout_style();
  if (options.format == "json") {
    Json json = {{"model", engine.model().dir().path.string()},
                 {"variant", engine.model().config().variant},
                 {"backend", engine.description()},
                 {"weight_bytes", engine.weight_bytes()},
                 {"results", Json::array()}};
    for (const Measurement& m : all) {
      json["results"].push_back({{"test", m.test},
                                 {"tokens_per_second", m.tokens_per_second},
                                 {"bytes_per_token", m.bytes_per_token},
                                 {"read_bandwidth", m.bandwidth},
                                 {"fraction", m.fraction()}});
      if (m.cost > 0) json["results"].back()["cost"] = m.cost;
      if (m.flop_per_token > 0) json["results"].back()["flop_per_token"] = m.flop_per_token;
    }
    write_out(dump_json(json) + "\n");
  } else if (options.format == "csv") {
    std::string out = "test,tokens_per_second,bytes_per_token,read_bandwidth,fraction,flop_per_token\n";
    for (const Measurement& m : all)
      out += fmt::format("{},{:.3f},{:.0f},{:.0f},{:.4f},{:.0f}\n", m.test, m.tokens_per_second, m.bytes_per_token,
                         m.bandwidth, m.fraction(), m.flop_per_token);
    write_out(out);
  } else {
    std::string out =
        fmt::format("{}{}{}  {}\n", style.bold, engine.model().dir().path.string(), style.reset, engine.description());
    for (const Measurement& m : all) {
      out += fmt::format("  {:<18} {:>10.2f} tok/s {:>9.3f} ms/tok", m.test, m.tokens_per_second,
                         1e3 / m.tokens_per_second);
      if (m.bandwidth > 0) {
        out += fmt::format("   {:.1f} GB/s of {:.1f} read ({:.0f} %)", m.tokens_per_second * m.bytes_per_token / 1e9,
                           m.bandwidth / 1e9, 100 * m.fraction());
      }
      if (m.flop_per_token > 0) out += fmt::format("   {:.1f} GFLOP/s", m.tokens_per_second * m.flop_per_token / 1e9);
      if (m.cost > 0) out += fmt::format("   {:.2f} times a step of one token", m.cost);
      out += "\n";
    }
    write_out(out);
  }
}

Result<void> bench(const BenchOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, options.model.open_engine());
  const int threads = options.model.threads > 0 ? options.model.threads : physical_cores();
  ProgressLine progress("measuring");
  std::vector<Measurement> all;
  const int64_t total = static_cast<int64_t>(options.prompts.size() + options.depths.size());
  for (const int32_t prompt : options.prompts) {
    progress.update(static_cast<int64_t>(all.size()), total);
    ASSIGN_OR_RETURN(Measurement m, measure_prefill(*engine, options, prompt));
    all.push_back(std::move(m));
  }
  for (const int32_t depth : options.depths) {
    progress.update(static_cast<int64_t>(all.size()), total);
    ASSIGN_OR_RETURN(Measurement m, measure_decode(*engine, options, threads, depth));
    all.push_back(std::move(m));
  }
  for (const int32_t depth : options.verify ? options.depths : std::vector<int32_t>()) {
    double single_ms = 0;
    for (const int32_t rows : {1, 2, 4, 8}) {
      ASSIGN_OR_RETURN(Measurement m, measure_verification(*engine, options, depth, rows, single_ms));
      if (rows == 1) single_ms = 1e3 / m.tokens_per_second;
      all.push_back(std::move(m));
    }
  }
  if (!options.pictures.empty() || !options.sounds.empty()) {
    ASSIGN_OR_RETURN(const std::vector<Measurement> media,
                     measure_media(options.model, options.pictures, options.sounds, options.repeat));
    all.insert(all.end(), media.begin(), media.end());
  }
  progress.clear();
  print(options, *engine, all);
  return {};
}

}  // namespace

void add_bench(CLI::App& program, Action& action) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      add_command(program, "bench",
                  "Speed: prefill and decode, with bytes and the fraction of the measured read bandwidth; pictures and "
                  "sound with --pictures and --sounds.\n\n"
                  "  lapidary bench\n"
                  "  lapidary bench --model ~/models/gemma-4-12B-it --prompt 128,512 --depth 0,4096 --format csv\n"
                  "  lapidary bench --model ~/models/gemma-4-E2B-it --pictures 70,280,1120 --sounds 5,30");
  command->add_option("--prompt", options->prompts, "prompt lengths for prefill (512)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--depth", options->depths, "tokens already held when decoding starts (0)")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--pictures", options->pictures, "also encode pictures of these soft-token budgets")
      ->delimiter(',')
      ->check(CLI::IsMember(kSoftTokenBudgets));
  command->add_option("--sounds", options->sounds, "also encode sound of so many seconds")
      ->delimiter(',')
      ->check(CLI::Range(1, kLimits.audio_clip_samples_max / kSampleRate));
  command->add_option("--generate", options->generate, "tokens to decode")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--repeat", options->repeat, "runs; the median is reported")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--verify", options->verify, "also steps that verify 2, 4 and 8 tokens at once: what drafts cost");
  command->add_option("--format", options->format, "table, json or csv")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
  options->model.add_to(*command);
  command->callback([=, &action] {
    action = [=] {
      options->model.draft = "none";  // decoding is measured token by token; --verify says what drafts would cost
      options->model.draft_tokens = kLimits.draft_tokens_max;
      const auto done = bench(*options);
      return done ? kExitDone : fail(done.error());
    };
  });
}

}  // namespace lapidary::cli
