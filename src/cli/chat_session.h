// The conversation behind `chat`: what was said, what is attached next, what the answers are held to, and the commands
// that change it. Knows nothing of how lines are read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/answer_grammar.h"
#include "cli/chat_file.h"
#include "cli/options.h"
#include "cli/prompt_input.h"
#include "engine/engine.h"

namespace lapidary::cli {

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  MediaOptions media;
  AnswerGrammarOptions grammar;
  std::string system, tools_path, load_path;
  bool think = false;
};

// The commands, a line each.
extern const char* const kChatCommands;

class ChatSession {
 public:
  // Asks the user one line; absent: there is none (Ctrl-C, or the end of the input).
  using Ask = std::function<std::optional<std::string>(std::string_view question)>;

  ChatSession(Engine& engine, const ChatOptions& options, ProcessorOptions processor, Ask ask);

  // What the options ask for: tools, the grammar, a saved conversation. Errors: as for files and grammars.
  Result<void> begin();

  // One message of the user, or a command; false: leave.
  bool take(const std::string& text);

 private:
  bool command(const std::string& text);
  void clear();
  void attach(PartKind kind, const std::string& path);
  void set_tools(const std::string& path);
  void set_schema(const std::string& path);
  void set_regex(const std::string& pattern);
  void undo();
  void show_context();
  Result<void> regenerate();
  Result<void> save(const std::string& path) const;
  Result<void> load(const std::string& path);

  Result<void> say(const std::string& text);
  // Answers what `turn` begins with, its tools' results among it, and then makes all of it part of the conversation.
  // false: a result did not come, and nothing has changed.
  Result<bool> answer(std::vector<Message> turn);
  struct Answered {
    Message message;
    bool whole = false;  // it came to its own end
  };
  Result<Answered> generate(const Conversation& conversation);
  // Asks for the results of a message's calls and appends them; false: not all of them came.
  bool ask_results(const Message& caller, std::vector<Message>& turn);
  Conversation with(const std::vector<Message>& turn) const;
  // Of the last message of the user; the conversation's end when there is none.
  size_t last_turn() const;

  Engine& engine_;
  const ChatOptions& options_;
  ProcessorOptions processor_;
  Ask ask_;
  MediaShelf shelf_;
  std::vector<SavedMedium> media_;  // of the shelf, by index
  Conversation conversation_;
  std::vector<Part> attached_;  // media of the next message
  Json tools_ = Json::array();
  std::string tools_name_;  // the file they came from
  GrammarPtr grammar_;
  uint64_t regenerated_ = 0;  // how often the last turn was, for other seeds
  int64_t calls_ = 0;         // so far, for their ids
};

}  // namespace lapidary::cli
