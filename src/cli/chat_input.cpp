#include "cli/chat_input.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/limits.h"
#include "cli/terminal.h"

namespace lapidary::cli {
namespace {

constexpr std::string_view kFence = "\"\"\"";

}  // namespace

ChatInput::Got ChatInput::read(std::string_view question, std::string& line) {
  fmt::print(stderr, "{}{}{} ", stderr_style().blue, question, stderr_style().reset);
  std::fflush(stderr);
  if (std::getline(in_, line)) return Got::kLine;
  // Ctrl-C at the prompt clears the line; the end of input leaves.
  if (take_interrupt() && !in_.eof()) {
    in_.clear();
    fmt::print(stderr, "\n");
    return Got::kInterrupt;
  }
  ended_ = true;
  return Got::kEnd;
}

// The first line of a block is in `text`, behind its fence.
ChatInput::Got ChatInput::read_block(std::string& text) {
  for (bool first = true;; first = false) {
    std::string line;
    if (first) {
      line = text.substr(kFence.size());
      text.clear();
    } else if (const Got got = read(".", line); got != Got::kLine) {
      return got;
    }
    const bool closed = line.ends_with(kFence);
    if (closed) line.resize(line.size() - kFence.size());
    text += line;
    if (closed || static_cast<int64_t>(text.size()) > kLimits.prompt_bytes_max) break;
    if (!first || !line.empty()) text += '\n';
  }
  // A fence on a line of its own adds none.
  if (text.ends_with('\n')) text.pop_back();
  return Got::kLine;
}

ChatInput::Got ChatInput::read_message(std::string& text) {
  if (const Got got = read(">", text); got != Got::kLine) return got;
  if (text.starts_with(kFence)) return read_block(text);
  while (text.ends_with('\\') && static_cast<int64_t>(text.size()) < kLimits.prompt_bytes_max) {
    std::string line;
    const Got got = read(".", line);
    if (got == Got::kInterrupt) return got;
    if (got == Got::kEnd) break;  // what was said until then counts
    text.back() = '\n';
    text += line;
  }
  return Got::kLine;
}

std::optional<std::string> ChatInput::message() {
  for (;;) {
    std::string text;
    const Got got = read_message(text);
    if (got == Got::kLine) return text;
    if (got == Got::kEnd) return {};
  }
}

std::optional<std::string> ChatInput::line(std::string_view question) {
  std::string text;
  if (read(question, text) != Got::kLine) return {};
  return text;
}

}  // namespace lapidary::cli
