#include "cli/answer_grammar.h"

#include <fmt/format.h>

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
  return schema_option->count() == 0 ? Result<GrammarPtr>(GrammarPtr()) : compile_schema_file(schema_path);
}

Result<GrammarPtr> compile_schema_file(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kLimits.config_bytes_max));
  ASSIGN_OR_RETURN(const Json schema, parse_json(text, path));
  Result<GrammarPtr> grammar = compile_json_schema(schema, {});
  return grammar ? std::move(grammar) : of(path, grammar.error());
}

Result<std::vector<std::shared_ptr<TokenConstraint>>> answer_constraints(const ReplyRules& rules,
                                                                         const PromptInput& prompt, Engine& engine) {
  std::vector<std::shared_ptr<TokenConstraint>> constraints;
  if (!rules.answer && (rules.tools.empty() || !prompt.chat)) return constraints;
  ReplyConstraintOptions reply;
  reply.answer = rules.answer;
  reply.chat = prompt.chat;
  reply.tools = ToolUse::kNone;
  if (!rules.tools.empty()) {
    ToolCallOptions calls;
    calls.after_marker = true;
    Result<GrammarPtr> compiled = compile_tool_calls(rules.tools, calls);
    if (!compiled) return of(rules.tools_name, compiled.error());
    reply.calls = std::move(compiled).value();
    reply.tools = ToolUse::kAllowed;
  }
  reply.thinking_tokens_max = rules.think ? -1 : 0;
  reply.thought_open = prompt.thought_open;
  ASSIGN_OR_RETURN(std::shared_ptr<TokenConstraint> made, make_reply_grammar(reply, engine));
  constraints.push_back(std::move(made));
  return constraints;
}

}  // namespace lapidary::cli
