// Constrained answers of one command: --json-schema and --regex.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "cli/prompt_input.h"
#include "engine/engine.h"
#include "grammar/compile.h"

namespace lapidary::cli {

struct AnswerGrammarOptions {
  std::string schema_path, regex;
  CLI::Option* schema_option = nullptr;
  CLI::Option* regex_option = nullptr;

  void add_to(CLI::App& app);
  // nullptr when none was asked for. Errors: as compile_json_schema and compile_regex, with the file or option.
  Result<GrammarPtr> compile() const;
};

// What a request asks for so that its answer follows the grammar: thoughts stay free, and declared tools may be called
// instead. Empty without a grammar.
Result<std::vector<std::shared_ptr<TokenConstraint>>> answer_constraints(const GrammarPtr& grammar,
                                                                         const PromptInput& prompt,
                                                                         const PromptOptions& options, Engine& engine);

}  // namespace lapidary::cli
