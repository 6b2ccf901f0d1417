// The subcommands. Each adds itself to the program's parser and says what it will do when chosen.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace lapidary::cli {

// Set by the subcommand that was chosen; returns the exit status.
using Action = std::function<int()>;

void add_run(CLI::App& program, Action& action);
void add_chat(CLI::App& program, Action& action);
void add_score(CLI::App& program, Action& action);
void add_serve(CLI::App& program, Action& action);
void add_transcribe(CLI::App& program, Action& action);
void add_tokenize(CLI::App& program, Action& action);
void add_detokenize(CLI::App& program, Action& action);
void add_inspect(CLI::App& program, Action& action);
void add_bench(CLI::App& program, Action& action);
void add_completion(CLI::App& program, Action& action);

}  // namespace lapidary::cli
