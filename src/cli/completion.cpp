// completion: a script for bash that knows the commands and options from the parser itself, so that it cannot go stale.
#include <fmt/format.h>

#include <string>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace lapidary::cli {
namespace {

std::string option_names(const CLI::App& app) {
  std::string names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names += " --" + name;
  }
  return names;
}

int print_completion(const CLI::App& program) {
  std::string commands, cases;
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    commands += " " + command->get_name();
    cases += fmt::format("    {}) words=\"{}\" ;;\n", command->get_name(), option_names(*command));
  }
  write_out(fmt::format(R"(# bash completion for lapidary; source it, or put it in /etc/bash_completion.d/
_lapidary() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words="{}"
  if [ "$COMP_CWORD" -gt 1 ]; then
    case "${{COMP_WORDS[1]}}" in
{}    esac
    case "$current" in
      -*) ;;
      *) COMPREPLY=($(compgen -f -- "$current")); return ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o filenames -F _lapidary lapidary
)",
                        commands, cases));
  return kExitDone;
}

}  // namespace

void add_completion(CLI::App& program, Action& action) {
  CLI::App* command =
      add_command(program, "completion", "A completion script for bash.\n\n  source <(lapidary completion)");
  command->callback([&program, &action] { action = [&program] { return print_completion(program); }; });
}

}  // namespace lapidary::cli
