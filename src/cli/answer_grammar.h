// Constrained answers of one command: --json-schema and --regex.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
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

// Of the JSON schema in a file. Errors: as compile_json_schema, with the file's name.
Result<GrammarPtr> compile_schema_file(const std::string& path);

// What a reply is held to.
struct ReplyRules {
  GrammarPtr answer;           // nullptr: nothing
  Json tools = Json::array();  // that may be called instead, as check_tools returns them
  std::string tools_name;      // where they come from, for messages
  bool think = false;
};

// What a request asks for so that its answer follows the rules: thoughts stay free. Empty where nothing is held to
// anything.
Result<std::vector<std::shared_ptr<TokenConstraint>>> answer_constraints(const ReplyRules& rules,
                                                                         const PromptInput& prompt, Engine& engine);

}  // namespace lapidary::cli
