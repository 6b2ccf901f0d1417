// chat: a conversation in the terminal.
#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/prompt_input.h"
#include "cli/reply_printer.h"
#include "cli/terminal.h"

namespace lapidary::cli {
namespace {

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  MediaOptions media;
  std::string system;
  bool think = false;
};

constexpr const char* kHelp =
    "  /image FILE   attach a picture to the next message (also /audio FILE, /video FILE)\n"
    "  /think        let the model think before it answers, or not\n"
    "  /save FILE    write the conversation as JSON\n"
    "  /clear        forget the conversation\n"
    "  /help         this list\n"
    "  /quit         leave (also Ctrl-D); Ctrl-C stops an answer\n";

class Chat {
 public:
  Chat(Engine& engine, const ChatOptions& options, ProcessorOptions processor)
      : engine_(engine),
        options_(options),
        processor_(std::move(processor)),
        shelf_(processor_, options.media.image_tokens),
        thinking_(options.think) {
    clear();
  }

  // One line from the user; false: leave.
  bool line(const std::string& text) {
    if (text.empty() && attached_.empty()) return true;
    if (text.rfind('/', 0) == 0) return command(text);
    const Result<void> done = say(text);
    if (!done) complain(done.error().message);
    return true;
  }

 private:
  static void complain(std::string_view message) {
    fmt::print(stderr, "{}{}{}\n", stderr_style().red, message, stderr_style().reset);
  }
  static void note(std::string_view message) {
    fmt::print(stderr, "{}{}{}\n", stderr_style().dim, message, stderr_style().reset);
  }

  bool command(const std::string& text) {
    const size_t space = text.find(' ');
    const std::string name = text.substr(0, space);
    std::string argument =
        space == std::string::npos
            ? ""
            : text.substr(text.find_first_not_of(' ', space) == std::string::npos ? text.size()
                                                                                  : text.find_first_not_of(' ', space));
    while (!argument.empty() && argument.back() == ' ') argument.pop_back();
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/help") {
      note(kHelp);
    } else if (name == "/clear") {
      clear();
      note("the conversation is forgotten");
    } else if (name == "/think") {
      thinking_ = !thinking_;
      note(thinking_ ? "thinking is on" : "thinking is off");
    } else if (name == "/image" || name == "/audio" || name == "/video") {
      attach(name == "/image" ? PartKind::kImage : name == "/audio" ? PartKind::kAudio : PartKind::kVideo, argument);
    } else if (name == "/save") {
      save(argument);
    } else {
      complain(fmt::format("{}: no such command; /help lists them", name));
    }
    return true;
  }

  void clear() {
    conversation_ = {};
    attached_.clear();
    shelf_ = MediaShelf(processor_, options_.media.image_tokens);
    if (!options_.system.empty()) conversation_.messages.push_back(text_message(Role::kSystem, options_.system));
  }

  void attach(PartKind kind, const std::string& path) {
    if (path.empty()) return complain("which file? for example /image photo.jpg");
    const Result<int32_t> index = shelf_.add(kind, path);
    if (!index) return complain(index.error().message);
    attached_.push_back({kind, "", *index});
    note(fmt::format("{}: {} tokens, goes with your next message", path, shelf_.summary(*index).soft_tokens));
  }

  void save(const std::string& path) {
    if (path.empty()) return complain("which file? for example /save talk.json");
    Json messages = Json::array();
    for (const Message& message : conversation_.messages) {
      Json entry = {{"role", message.role == Role::kSystem ? "system"
                             : message.role == Role::kUser ? "user"
                                                           : "assistant"}};
      std::string text;
      for (const Part& part : message.parts) {
        if (part.kind != PartKind::kText) entry["media"].push_back(shelf_.summary(part.media).name);
        text += part.text;
      }
      entry["content"] = text;
      if (!message.reasoning.empty()) entry["reasoning"] = message.reasoning;
      messages.push_back(std::move(entry));
    }
    std::ofstream out(path);
    out << Json{{"messages", messages}}.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    out.close();
    if (!out) return complain(fmt::format("{}: cannot be written", path));
    note(fmt::format("{}: saved", path));
  }

  Result<void> say(const std::string& text) {
    Message user;
    user.role = Role::kUser;
    if (!attached_.empty()) user.form = ContentForm::kParts;
    user.parts = attached_;
    if (!text.empty()) user.parts.push_back({PartKind::kText, text});
    Conversation attempt = conversation_;
    attempt.thinking = thinking_;
    attempt.messages.push_back(user);
    ASSIGN_OR_RETURN(PromptInput input, shelf_.write(engine_, attempt));

    GenerationRequest request;
    request.prompt = std::move(input.tokens);
    request.media = std::move(input.spans);
    request.sampling = options_.sampling.params(engine_.model().generation_defaults());
    request.tokens_max = options_.sampling.max_tokens > 0 ? options_.sampling.max_tokens : engine_.memory().context;
    request.stop = options_.sampling.stop;
    ReplyPrinter printer(engine_.tokenizer(),
                         {.chat = true, .thought_open = input.thought_open, .print = true, .stop = request.stop});
    const int64_t prompt_tokens = static_cast<int64_t>(request.prompt.size());
    ProgressLine progress("prompt");
    ASSIGN_OR_RETURN(const uint64_t id, engine_.submit(std::move(request), [&](const Event& event) {
      if (event.prompt_done > 0) {
        progress.update(event.prompt_done, prompt_tokens);
      } else {
        progress.clear();
      }
      printer.take(event);
    }));
    take_interrupt();
    while (engine_.step()) {
      if (interrupted()) engine_.cancel(id);
    }
    if (take_interrupt()) note("(stopped)");
    // Nothing of the conversation changes until the answer is there.
    Message answer = text_message(Role::kAssistant, printer.reply().text);
    answer.reasoning = printer.reply().thought;
    answer.tool_calls = printer.reply().tool_calls;
    conversation_.messages.push_back(std::move(user));
    conversation_.messages.push_back(std::move(answer));
    attached_.clear();
    const Usage& usage = printer.last().usage;
    note(fmt::format("{} + {} tokens of {}", usage.prompt_tokens, usage.completion_tokens, engine_.memory().context));
    return {};
  }

  Engine& engine_;
  const ChatOptions& options_;
  ProcessorOptions processor_;
  MediaShelf shelf_;
  Conversation conversation_;
  std::vector<Part> attached_;  // media of the next message
  bool thinking_ = false;
};

Result<void> chat(const ChatOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, options.model.open_engine());
  ASSIGN_OR_RETURN(ProcessorOptions processor, options.media.processor_options(*engine));
  Chat session(*engine, options, std::move(processor));
  fmt::print(stderr, "{}{}{} on {}. /help lists what you can do; Ctrl-D leaves.\n", stderr_style().bold,
             engine->model().dir().path.string(), stderr_style().reset, engine->description());
  std::string line;
  for (;;) {
    fmt::print(stderr, "{}>{} ", stderr_style().blue, stderr_style().reset);
    std::fflush(stderr);
    if (!std::getline(std::cin, line)) {
      // Ctrl-C at the prompt clears the line; the end of input leaves.
      if (!take_interrupt() || std::cin.eof()) break;
      std::cin.clear();
      fmt::print(stderr, "\n");
      continue;
    }
    if (!session.line(line)) break;
  }
  if (stderr_is_terminal()) fmt::print(stderr, "\n");
  return {};
}

}  // namespace

void add_chat(CLI::App& program, Action& action) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = add_command(program, "chat",
                                  fmt::format("A conversation in the terminal.\n\n  lapidary chat\n  lapidary chat "
                                              "--model ~/models/gemma-4-12B-it --think\n\nIn it:\n{}",
                                              kHelp));
  command->add_option("--system", options->system, "system instructions")->type_name("TEXT");
  command->add_flag("--think", options->think, "let the model think before it answers");
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
