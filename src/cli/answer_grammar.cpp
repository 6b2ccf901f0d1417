#include "cli/answer_grammar.h"

#include <fmt/format.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mapped_file.h"
#include "engine/reply_grammar.h"

namespace lapidary::cli {
namespace {

Error of(const std::string& what, Error error) {
  error.message = fmt::format("{}: {}", what, error.message);
  return error;
}

}  // namespace

void AnswerGrammarOptions::add_to(CLI::App& app) {
  const char* group = "Constrained output";
  schema_option = app.add_option("--json-schema", schema_path, "the answer is JSON that satisfies the schema in FILE")
                      ->type_name("FILE")
                      ->group(group);
  regex_option = app.add_option("--regex", regex, "the answer matches REGEX from end to end")
                     ->type_name("REGEX")
                     ->excludes(schema_option)
                     ->group(group);
}

Result<GrammarPtr> AnswerGrammarOptions::compile() const {
  if (regex_option->count() > 0) {
    Result<GrammarPtr> grammar = compile_regex(regex);
    return grammar ? std::move(grammar) : of("--regex", grammar.error());
  }
  if (schema_option->count() == 0) return GrammarPtr();
  ASSIGN_OR_RETURN(const std::string text, read_file(schema_path, kLimits.config_bytes_max));
  ASSIGN_OR_RETURN(const Json schema, parse_json(text, schema_path));
  Result<GrammarPtr> grammar = compile_json_schema(schema, {});
  return grammar ? std::move(grammar) : of(schema_path, grammar.error());
}

Result<std::vector<std::shared_ptr<TokenConstraint>>> answer_constraints(const GrammarPtr& grammar,
                                                                         const PromptInput& prompt,
                                                                         const PromptOptions& options, Engine& engine) {
  std::vector<std::shared_ptr<TokenConstraint>> constraints;
  if (!grammar && (options.tools_path.empty() || !prompt.chat)) return constraints;
  ReplyConstraintOptions reply;
  reply.answer = grammar;
  reply.chat = prompt.chat;
  reply.tools = ToolUse::kNone;
  Json tools = Json::array();
  if (!options.tools_path.empty()) {
    ASSIGN_OR_RETURN(tools, read_tools(options.tools_path));
  }
  if (!tools.empty()) {
    ToolCallOptions calls;
    calls.after_marker = true;
    Result<GrammarPtr> compiled = compile_tool_calls(tools, calls);
    if (!compiled) return of(options.tools_path, compiled.error());
    reply.calls = std::move(compiled).value();
    reply.tools = ToolUse::kAllowed;
  }
  reply.thinking_tokens_max = options.think ? -1 : 0;
  reply.thought_open = prompt.thought_open;
  ASSIGN_OR_RETURN(std::shared_ptr<TokenConstraint> made, make_reply_grammar(reply, engine));
  constraints.push_back(std::move(made));
  return constraints;
}

}  // namespace lapidary::cli
