// lapidary: one program, subcommands.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "cli/commands.h"
#include "cli/terminal.h"

namespace {

int run_program(int argc, char** argv) {
  using namespace lapidary::cli;
  CLI::App program(
      "Gemma 4, natively: text, pictures, sound and video in, text out.\n\n"
      "  lapidary run \"What can you do?\"\n"
      "  lapidary run --image photo.jpg \"Describe the picture.\"\n"
      "  lapidary run --audio note.wav \"Transcribe the recording.\"\n"
      "  lapidary chat");
  program.name("lapidary");
  program.set_version_flag("--version", "lapidary " LAPIDARY_VERSION);
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  Action action;
  add_run(program, action);
  add_chat(program, action);
  add_serve(program, action);
  add_score(program, action);
  add_transcribe(program, action);
  add_tokenize(program, action);
  add_detokenize(program, action);
  add_inspect(program, action);
  add_bench(program, action);
  add_completion(program, action);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    // --help and --version are "errors" of exit code 0; all others are wrong usage.
    return program.exit(e, std::cout, std::cerr) == 0 ? kExitDone : kExitUsage;
  }
  catch_interrupts();
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const std::bad_alloc&) {
    return lapidary::cli::fail({lapidary::ErrorCode::kExhausted, "out of memory"});
  } catch (const std::exception& e) {
    return lapidary::cli::fail({lapidary::ErrorCode::kInvalidArgument, e.what()});
  }
}
