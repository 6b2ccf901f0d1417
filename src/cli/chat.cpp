// chat: a conversation in the terminal.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "cli/chat_input.h"
#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/terminal.h"

namespace lapidary::cli {
namespace {

Result<void> chat(const ChatOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, options.model.open_engine());
  ASSIGN_OR_RETURN(ProcessorOptions processor, options.media.processor_options(*engine));
  ChatInput input(std::cin);
  ChatSession session(*engine, options, processor, [&](std::string_view question) { return input.line(question); });
  RETURN_IF_ERROR(session.begin());
  fmt::print(stderr, "{}{}{} on {}. /help lists what you can do; Ctrl-D leaves.\n", stderr_style().bold,
             engine->model().dir().path.string(), stderr_style().reset, engine->description());
  for (auto text = input.message(); text && session.take(*text);) text = input.message();
  if (stderr_is_terminal()) fmt::print(stderr, "\n");
  return {};
}

}  // namespace

void add_chat(CLI::App& program, Action& action) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = add_command(program, "chat",
                                  fmt::format("A conversation in the terminal.\n\n  lapidary chat\n  lapidary chat "
                                              "--model ~/models/gemma-4-12B-it --think\n  lapidary chat --tools "
                                              "tools.json\n  lapidary chat --load talk.json\n\nIn it:\n{}",
                                              kChatCommands));
  command->add_option("--system", options->system, "system instructions")->type_name("TEXT");
  command->add_flag("--think", options->think, "let the model think before it answers");
  command
      ->add_option("--tools", options->tools_path,
                   "JSON file with tool declarations, as in the OpenAI API; results of calls are asked of you")
      ->type_name("FILE");
  command->add_option("--load", options->load_path, "go on with a conversation that /save wrote")->type_name("FILE");
  options->grammar.add_to(*command);
  options->sampling.add_to(*command);
  options->media.add_to(*command);
  options->model.add_to(*command);
  command->callback([=, &action] {
    action = [=] {
      const auto done = chat(*options);
      return done ? kExitDone : fail(done.error());
    };
  });
}

}  // namespace lapidary::cli
