#include "cli/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <random>

#include "base/limits.h"
#include "base/log.h"

namespace lapidary::cli {
namespace {

Result<DType> kv_type(const std::string& name) {
  if (name == "bf16") return DType::kBF16;
  if (name == "f16") return DType::kF16;
  if (name == "f32") return DType::kF32;
  return Error{ErrorCode::kUnsupported, fmt::format("--kv {}: this build keeps K and V as bf16, f16 or f32", name)};
}

}  // namespace

CLI::App* add_command(CLI::App& program, const std::string& name, const std::string& text) {
  const size_t end = text.find("\n\n");
  CLI::App* command = program.add_subcommand(name, text.substr(0, end));
  if (end != std::string::npos) command->footer("\nExamples:" + text.substr(end + 1));
  return command;
}

Result<std::string> shipped_model_path() {
  std::error_code failed;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", failed);
  if (failed) return Error{ErrorCode::kNotFound, "no --model given, and the program's own place is unknown"};
  // <prefix>/bin/lapidary -> <prefix>/share/lapidary/models/demo;  <tree>/build/<preset>/bin/lapidary ->
  // <tree>/models/demo
  const std::filesystem::path bin = program.parent_path();
  for (const std::filesystem::path& folder : {bin / "../share/lapidary/models/demo", bin / "../../../models/demo"}) {
    if (std::filesystem::exists(folder / "config.json", failed))
      return std::filesystem::weakly_canonical(folder, failed).string();
  }
  return Error{ErrorCode::kNotFound, fmt::format("no --model given, and no shipped model beside {}", program.string())};
}

void ModelOptions::add_to(CLI::App& app) {
  const char* group = "Model";
  app.add_option("--model", model,
                 "Hugging Face directory with config.json, weights and tokenizer.json (the shipped demo model)")
      ->type_name("PATH")
      ->group(group);
  app.add_option("--mmproj", mmproj, "GGUF with the vision and audio part, next to a GGUF model")
      ->type_name("PATH")
      ->group(group);
  app.add_option("--draft", draft, "MTP drafter's directory, or none (drafter/ inside the model's, when it is there)")
      ->type_name("PATH|none")
      ->group(group);
  app.add_option("--draft-tokens", draft_tokens,
                 "draft this many tokens a round (as many as pay, by what was measured)")
      ->check(CLI::Range(1, kLimits.draft_tokens_max))
      ->group("");  // for measuring: the answer does not depend on it
  app.add_option("--device", device, "back-end: auto, cpu, cuda, or reference (slow, double precision, for checking)")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "reference"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--threads", threads, "compute threads (physical cores)")->check(CLI::Range(1, 1024))->group(group);
  app.add_option("--context", context, "positions to make room for (what the model allows and memory permits)")
      ->group(group);
  app.add_option("--batch-tokens", batch_tokens, "most tokens in one engine step; longer prompts enter in pieces")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str()
      ->group(group);
  app.add_option("--prefix-cache", prefix_cache,
                 "bytes for finished prefixes (a quarter of the K/V memory, at least one context; 0: off)")
      ->check(CLI::Range(static_cast<int64_t>(0), INT64_MAX))
      ->group(group);
  app.add_option("--kv", kv, "K/V cache format")
      ->check(CLI::IsMember({"bf16", "f16", "q8_0", "f32"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--precision", precision,
                 "fast: activations as the weight format's kernels take them; full: f32 throughout, for comparing")
      ->check(CLI::IsMember({"fast", "full"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--log-level", log_level, "what goes to stderr")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}))
      ->capture_default_str()
      ->group(group);
}

Result<std::string> ModelOptions::model_path() const {
  return model.empty() ? shipped_model_path() : Result<std::string>(model);
}

Result<EngineOptions> ModelOptions::engine_options() const {
  if (!mmproj.empty()) return Error{ErrorCode::kUnsupported, "--mmproj: GGUF files are not supported by this build"};
  EngineOptions options;
  ASSIGN_OR_RETURN(options.model_path, model_path());
  if (draft.empty()) {
    std::error_code failed;
    const std::filesystem::path beside = std::filesystem::path(options.model_path) / "drafter";
    if (std::filesystem::exists(beside / "config.json", failed)) options.draft_path = beside.string();
  } else if (draft != "none") {
    options.draft_path = draft;
  }
  options.draft_tokens = draft_tokens;
  options.device = device;
  options.ops.threads = threads;
  options.ops.precision = precision == "full" ? Precision::kFull : Precision::kFast;
  ASSIGN_OR_RETURN(options.ops.kv_type, kv_type(kv));
  options.batch_tokens_max = batch_tokens;
  options.context = context;
  options.prefix_bytes = prefix_cache;
  return options;
}

Result<std::unique_ptr<Engine>> ModelOptions::open_engine() const {
  RETURN_IF_ERROR(set_log_level(log_level));
  ASSIGN_OR_RETURN(const EngineOptions options, engine_options());
  auto engine = Engine::open(options);
  if (engine) spdlog::info("{}", (*engine)->memory().description());
  return engine;
}

void SamplingOptions::add_to(CLI::App& app) {
  const char* group = "Sampling";
  app.add_option("--max-tokens", max_tokens, "end the answer after this many tokens (as far as the context allows)")
      ->check(CLI::Range(1, INT32_MAX))
      ->group(group);
  app.add_option("--temperature", temperature, "0 is greedy: the likeliest token, the lowest id among equals")
      ->check(CLI::Range(0.0, 100.0))
      ->group(group);
  app.add_option("--top-k", top_k, "only the K likeliest tokens (0: all)")
      ->check(CLI::Range(0, INT32_MAX))
      ->group(group);
  app.add_option("--top-p", top_p, "only the likeliest tokens that together hold P")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  app.add_option("--min-p", min_p, "only tokens at least P times as likely as the likeliest")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  app.add_option("--seed", seed, "the same seed, prompt and settings give the same answer")->group(group);
  app.add_option("--stop", stop, "text that ends the answer (repeatable)")
      ->type_name("TEXT")
      ->expected(1)
      ->take_all()
      ->group(group);
  app.add_flag("--ignore-eos", ignore_eos, "go on to --max-tokens")->group(group);
}

SamplingParams SamplingOptions::params(const GenerationDefaults& defaults) const {
  SamplingParams params;
  params.temperature = temperature.value_or(defaults.temperature);
  params.top_p = top_p.value_or(defaults.top_p);
  params.min_p = min_p.value_or(defaults.min_p);
  params.top_k = top_k.value_or(defaults.top_k);
  params.seed = seed ? *seed : (static_cast<uint64_t>(std::random_device{}()) << 32 | std::random_device{}());
  return params;
}

Result<std::vector<int32_t>> parse_token_ids(const std::string& text) {
  std::vector<int32_t> ids;
  size_t at = 0;
  while (at <= text.size()) {
    size_t end = text.find(',', at);
    if (end == std::string::npos) end = text.size();
    std::string_view part = std::string_view(text).substr(at, end - at);
    while (!part.empty() && (part.front() == ' ' || part.front() == '\n')) part.remove_prefix(1);
    while (!part.empty() && (part.back() == ' ' || part.back() == '\n')) part.remove_suffix(1);
    int32_t id = 0;
    const auto [rest, code] = std::from_chars(part.data(), part.data() + part.size(), id);
    if (part.empty() || code != std::errc() || rest != part.data() + part.size() || id < 0) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("token ids: entry {} is \"{}\", expected a number like 105", ids.size() + 1, part)};
    }
    ids.push_back(id);
    at = end + 1;
  }
  return ids;
}

}  // namespace lapidary::cli
