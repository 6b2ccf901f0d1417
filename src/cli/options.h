// Options that several commands share, and how they become an open engine.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace lapidary::cli {

// Adds a subcommand. The first paragraph of text describes it wherever it is listed; the examples after it are shown by
// its own
// --help.
CLI::App* add_command(CLI::App& program, const std::string& name, const std::string& text);

// Where the program keeps its shipped model: beside the installed program or at the root of the build's source tree.
Result<std::string> shipped_model_path();

struct ModelOptions {
  std::string model;  // empty: the shipped one
  std::string mmproj;
  std::string draft;  // empty: drafter/ of the model's directory, when it is there
  std::optional<int32_t> draft_tokens;
  std::string device = "auto";
  std::string kv = "bf16";
  std::string precision = "fast";
  std::string log_level = "warn";
  int32_t threads = 0;
  int32_t batch_tokens = 2048;
  std::optional<int32_t> context;
  std::optional<int64_t> prefix_cache;

  void add_to(CLI::App& app);
  // The path that will be opened. Errors: kNotFound when there is no --model and no shipped one.
  Result<std::string> model_path() const;
  Result<EngineOptions> engine_options() const;
  // Sets the log level and opens the model.
  Result<std::unique_ptr<Engine>> open_engine() const;
  // For commands that generate nothing: a drafter is only read when it was asked for.
  void without_default_drafter() {
    if (draft.empty()) draft = "none";
  }
};

struct SamplingOptions {
  std::optional<float> temperature, top_p, min_p;
  std::optional<int32_t> top_k;
  std::optional<uint64_t> seed;
  int32_t max_tokens = 0;  // 0: the command's default
  std::vector<std::string> stop;
  bool ignore_eos = false;

  void add_to(CLI::App& app);
  // What was given over what the model's generation_config.json says; without --seed, a fresh one.
  SamplingParams params(const GenerationDefaults& defaults) const;
};

// "2,105,2364" (spaces allowed). Errors: kInvalidArgument saying which entry is not an id.
Result<std::vector<int32_t>> parse_token_ids(const std::string& text);

}  // namespace lapidary::cli
