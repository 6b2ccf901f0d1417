#include "cli/chat_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mapped_file.h"
#include "cli/reply_printer.h"
#include "cli/terminal.h"
#include "media/sniff.h"

namespace lapidary::cli {

const char* const kChatCommands =
    "  /image FILE   attach a picture to the next message (also /audio FILE, /video FILE)\n"
    "  /think        let the model think before it answers, or not\n"
    "  /tools FILE   declare tools; their results are asked of you (/tools off: none)\n"
    "  /schema FILE  hold answers to a JSON schema (/schema off: to nothing)\n"
    "  /regex REGEX  hold answers to a pattern (/regex off: to nothing)\n"
    "  /regenerate   answer the last message again, with another seed\n"
    "  /undo         take back the last message and its answer\n"
    "  /context      how much of the context is used\n"
    "  /save FILE    write the conversation as JSON\n"
    "  /load FILE    go on with a conversation that was saved\n"
    "  /clear        forget the conversation\n"
    "  /help         this list\n"
    "  /quit         leave (also Ctrl-D); Ctrl-C stops an answer\n"
    "  A line that ends with \\ goes on in the next one; \"\"\" begins and ends a block of lines.\n";

namespace {

void complain(std::string_view message) {
  fmt::print(stderr, "{}{}{}\n", stderr_style().red, message, stderr_style().reset);
}

void note(std::string_view message) {
  fmt::print(stderr, "{}{}{}\n", stderr_style().dim, message, stderr_style().reset);
}

void complain(const Result<void>& done) {
  if (!done) complain(done.error().message);
}

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") + 1 - first));
}

// A call for people: its name, and a line for each argument.
void show_call(const ToolCall& call) {
  fmt::print(stderr, "{}{}{}\n", stderr_style().bold, call.name, stderr_style().reset);
  for (const auto& [name, value] : call.arguments.items())
    fmt::print(stderr, "  {}{}:{} {}\n", stderr_style().dim, name, stderr_style().reset,
               value.is_string() ? value.get<std::string>() : dump_json(value));
}

Result<PartKind> kind_of_file(const std::string& path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const SniffedMedia first = sniff_media(bytes);
  if (first == SniffedMedia::kImage) return PartKind::kImage;
  if (first == SniffedMedia::kAudio) return PartKind::kAudio;
  if (first != SniffedMedia::kVideo)
    return Error{ErrorCode::kUnsupported, fmt::format("{}: expected a picture, sound or a video", path)};
  ASSIGN_OR_RETURN(const SniffedMedia tracks, sniff_tracks(bytes, path));
  return tracks == SniffedMedia::kAudio ? PartKind::kAudio : PartKind::kVideo;
}

}  // namespace

ChatSession::ChatSession(Engine& engine, const ChatOptions& options, ProcessorOptions processor, Ask ask)
    : engine_(engine),
      options_(options),
      processor_(processor),
      ask_(std::move(ask)),
      shelf_(processor_, options.media.image_tokens) {
  conversation_.thinking = options.think;
  clear();
}

Result<void> ChatSession::begin() {
  ASSIGN_OR_RETURN(grammar_, options_.grammar.compile());
  if (!options_.load_path.empty()) RETURN_IF_ERROR(load(options_.load_path));
  if (!options_.tools_path.empty()) {
    ASSIGN_OR_RETURN(tools_, read_tools(options_.tools_path));
    tools_name_ = options_.tools_path;
  }
  return {};
}

bool ChatSession::take(const std::string& text) {
  if (text.empty() && attached_.empty()) return true;
  if (text.starts_with('/') && text.find('\n') == std::string::npos) return command(text);
  complain(say(text));
  return true;
}

bool ChatSession::command(const std::string& text) {
  const size_t space = std::min(text.find(' '), text.size());
  const std::string name = text.substr(0, space), argument = trimmed(std::string_view(text).substr(space));
  const auto needs = [&](const char* what, const char* example) {
    if (argument.empty()) complain(fmt::format("which {}? for example {} {}", what, name, example));
    return !argument.empty();
  };
  if (name == "/quit" || name == "/exit") return false;
  if (name == "/help") {
    note(kChatCommands);
  } else if (name == "/clear") {
    clear();
    note("the conversation is forgotten");
  } else if (name == "/think") {
    conversation_.thinking = !conversation_.thinking;
    note(conversation_.thinking ? "thinking is on" : "thinking is off");
  } else if (name == "/image" || name == "/audio" || name == "/video") {
    if (needs("file", "photo.jpg"))
      attach(name == "/image" ? PartKind::kImage : name == "/audio" ? PartKind::kAudio : PartKind::kVideo, argument);
  } else if (name == "/tools") {
    if (needs("file", "tools.json")) set_tools(argument);
  } else if (name == "/schema") {
    if (needs("file", "person.json")) set_schema(argument);
  } else if (name == "/regex") {
    if (needs("pattern", "yes|no")) set_regex(argument);
  } else if (name == "/regenerate") {
    complain(regenerate());
  } else if (name == "/undo") {
    undo();
  } else if (name == "/context") {
    show_context();
  } else if (name == "/save") {
    if (needs("file", "talk.json")) complain(save(argument));
  } else if (name == "/load") {
    if (needs("file", "talk.json")) complain(load(argument));
  } else {
    complain(fmt::format("{}: no such command; /help lists them", name));
  }
  return true;
}

void ChatSession::clear() {
  conversation_.messages.clear();
  attached_.clear();
  media_.clear();
  regenerated_ = 0;
  shelf_ = MediaShelf(processor_, options_.media.image_tokens);
  if (!options_.system.empty()) conversation_.messages.push_back(text_message(Role::kSystem, options_.system));
}

void ChatSession::attach(PartKind kind, const std::string& path) {
  const Result<int32_t> index = shelf_.add(kind, path);
  if (!index) return complain(index.error().message);
  attached_.push_back({kind, "", *index});
  media_.push_back({path, kind});
  note(fmt::format("{}: {} tokens, goes with your next message", path, shelf_.summary(*index).soft_tokens));
}

void ChatSession::set_tools(const std::string& path) {
  Result<Json> tools = path == "off" ? Result<Json>(Json::array()) : read_tools(path);
  if (!tools) return complain(tools.error().message);
  tools_ = std::move(tools).value();
  tools_name_ = path;
  std::string names;
  for (const Json& tool : tools_) names += (names.empty() ? "" : ", ") + tool["function"]["name"].get<std::string>();
  note(tools_.empty() ? "no tools are declared" : fmt::format("the model may call {}", names));
}

void ChatSession::set_schema(const std::string& path) {
  Result<GrammarPtr> grammar = path == "off" ? Result<GrammarPtr>(GrammarPtr()) : compile_schema_file(path);
  if (!grammar) return complain(grammar.error().message);
  grammar_ = std::move(grammar).value();
  note(grammar_ ? fmt::format("answers are JSON that satisfies {}", path) : "answers are free");
}

void ChatSession::set_regex(const std::string& pattern) {
  Result<GrammarPtr> grammar = pattern == "off" ? Result<GrammarPtr>(GrammarPtr()) : compile_regex(pattern);
  if (!grammar) return complain(fmt::format("/regex: {}", grammar.error().message));
  grammar_ = std::move(grammar).value();
  note(grammar_ ? fmt::format("answers match {}", pattern) : "answers are free");
}

size_t ChatSession::last_turn() const {
  const std::vector<Message>& messages = conversation_.messages;
  for (size_t i = messages.size(); i > 0; --i) {
    if (messages[i - 1].role == Role::kUser) return i - 1;
  }
  return messages.size();
}

void ChatSession::undo() {
  const size_t turn = last_turn();
  if (turn == conversation_.messages.size()) return complain("there is nothing to take back");
  conversation_.messages.resize(turn);
  regenerated_ = 0;
  note("your last message and its answer are taken back");
}

Result<void> ChatSession::regenerate() {
  const size_t turn = last_turn();
  std::vector<Message>& messages = conversation_.messages;
  if (turn == messages.size()) return Error{ErrorCode::kNotFound, "there is no message to answer again"};
  const std::vector<Message> before = messages;
  if (options_.sampling.params(engine_.model().generation_defaults()).temperature == 0)
    note("the temperature is 0: every seed gives the same answer");
  messages.resize(turn);
  ++regenerated_;
  const Result<bool> done = answer({before[turn]});
  // Without an answer the one before stays.
  if (!done || !*done) messages = before;
  return done ? Result<void>() : done.error();
}

void ChatSession::show_context() {
  Conversation said = conversation_;
  said.tools = tools_;
  said.add_generation_prompt = false;
  int64_t used = 0;
  if (!said.messages.empty() || !tools_.empty()) {
    const Result<PromptInput> input = shelf_.write(engine_, said);
    if (!input) return complain(input.error().message);
    used = std::ssize(input->tokens);
  }
  const int64_t room = engine_.memory().context;
  note(fmt::format("{} of {} tokens are used ({:.0f} %), in {} messages", used, room,
                   100.0 * static_cast<double>(used) / static_cast<double>(room), said.messages.size()));
}

Result<void> ChatSession::save(const std::string& path) const {
  RETURN_IF_ERROR(write_chat({conversation_.messages, media_, tools_, conversation_.thinking}, path));
  note(fmt::format("{}: saved", path));
  return {};
}

Result<void> ChatSession::load(const std::string& path) {
  ASSIGN_OR_RETURN(SavedChat saved, read_chat(path));
  // Nothing changes until all of it is there.
  MediaShelf shelf(processor_, options_.media.image_tokens);
  for (SavedMedium& medium : saved.media) {
    if (!medium.kind) {
      ASSIGN_OR_RETURN(medium.kind, kind_of_file(medium.path));
    }
    RETURN_IF_ERROR(shelf.add(*medium.kind, medium.path));
  }
  for (Message& message : saved.messages) {
    for (Part& part : message.parts) {
      if (part.kind != PartKind::kText) part.kind = *saved.media[static_cast<size_t>(part.media)].kind;
    }
    calls_ += std::ssize(message.tool_calls);
  }
  shelf_ = std::move(shelf);
  media_ = std::move(saved.media);
  conversation_.messages = std::move(saved.messages);
  conversation_.thinking = saved.thinking || options_.think;
  attached_.clear();
  regenerated_ = 0;
  tools_ = std::move(saved.tools);
  tools_name_ = path;
  note(fmt::format("{}: {} messages", path, conversation_.messages.size()));
  return {};
}

Result<void> ChatSession::say(const std::string& text) {
  Message user;
  user.role = Role::kUser;
  if (!attached_.empty()) user.form = ContentForm::kParts;
  user.parts = attached_;
  if (!text.empty()) user.parts.push_back({PartKind::kText, text});
  regenerated_ = 0;
  ASSIGN_OR_RETURN(const bool answered, answer({std::move(user)}));
  if (answered) attached_.clear();
  return {};
}

Conversation ChatSession::with(const std::vector<Message>& turn) const {
  Conversation attempt = conversation_;
  attempt.tools = tools_;
  attempt.messages.insert(attempt.messages.end(), turn.begin(), turn.end());
  return attempt;
}

Result<bool> ChatSession::answer(std::vector<Message> turn) {
  for (;;) {
    ASSIGN_OR_RETURN(Answered answered, generate(with(turn)));
    Message& message = answered.message;
    if (!answered.whole && !message.tool_calls.empty()) {
      message.tool_calls.clear();
      note("(a call that was cut off is left out)");
    }
    for (ToolCall& call : message.tool_calls) call.id = fmt::format("call_{}", ++calls_);
    turn.push_back(std::move(message));
    if (turn.back().tool_calls.empty()) break;
    if (!ask_results(Message(turn.back()), turn)) {
      note("(without a result there is no answer: your message is taken back)");
      return false;
    }
  }
  // Nothing of the conversation changes until the answer is there.
  std::vector<Message>& messages = conversation_.messages;
  messages.insert(messages.end(), std::make_move_iterator(turn.begin()), std::make_move_iterator(turn.end()));
  return true;
}

bool ChatSession::ask_results(const Message& caller, std::vector<Message>& turn) {
  for (const ToolCall& call : caller.tool_calls) {
    show_call(call);
    Message result;
    result.role = Role::kTool;
    result.name = call.name;
    result.tool_call_id = call.id;
    for (bool known = false; !known;) {
      const std::optional<std::string> line = ask_("its result (@FILE; empty: none)>");
      if (!line) return false;
      std::string text = trimmed(*line);
      known = true;
      if (text.empty()) {
        result.form = ContentForm::kScalar;  // null
      } else if (text.starts_with('@')) {
        Result<std::string> file = read_file(text.substr(1), kLimits.prompt_bytes_max);
        known = file.has_value();
        if (file) result.parts = {{PartKind::kText, std::move(*file)}};
        if (!file) complain(file.error().message);
      } else {
        result.parts = {{PartKind::kText, std::move(text)}};
      }
    }
    turn.push_back(std::move(result));
  }
  return true;
}

Result<ChatSession::Answered> ChatSession::generate(const Conversation& conversation) {
  ASSIGN_OR_RETURN(PromptInput input, shelf_.write(engine_, conversation));
  GenerationRequest request;
  ASSIGN_OR_RETURN(request.constraints,
                   answer_constraints({grammar_, tools_, tools_name_, conversation.thinking}, input, engine_));
  request.prompt = std::move(input.tokens);
  request.media = std::move(input.spans);
  request.sampling = options_.sampling.params(engine_.model().generation_defaults());
  request.sampling.seed += regenerated_;
  // Nobody could answer a call of a tool that was not declared.
  if (const auto call = engine_.tokenizer().id_of("<|tool_call>"); tools_.empty() && !grammar_ && call)
    request.sampling.logit_bias.emplace_back(*call, -100.0f);
  request.tokens_max = options_.sampling.max_tokens > 0 ? options_.sampling.max_tokens : engine_.memory().context;
  request.stop = options_.sampling.stop;
  ReplyPrinter printer(
      engine_.tokenizer(),
      {.chat = true, .thought_open = input.thought_open, .print = true, .print_calls = false, .stop = request.stop});
  const int64_t prompt_tokens = std::ssize(request.prompt);
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
  Answered answered{text_message(Role::kAssistant, printer.reply().text)};
  answered.message.reasoning = printer.reply().thought;
  answered.message.tool_calls = printer.reply().tool_calls;
  answered.whole = printer.last().finish == FinishReason::kStop;
  const Usage& usage = printer.last().usage;
  note(fmt::format("{} + {} tokens of {}{}", usage.prompt_tokens, usage.completion_tokens, engine_.memory().context,
                   usage.cached_tokens > 0 ? fmt::format(", {} known from before", usage.cached_tokens) : ""));
  return answered;
}

}  // namespace lapidary::cli
