#include "cli/reply_printer.h"

#include <fmt/format.h>

#include "cli/terminal.h"

namespace lapidary::cli {

std::string call_text(const ToolCall& call) { return fmt::format("{}({})", call.name, dump_json(call.arguments)); }

ReplyPrinter::ReplyPrinter(const Tokenizer& tokenizer, Options options)
    : options_(std::move(options)), reader_(tokenizer, options_.thought_open), stops_(options_.stop) {}

void ReplyPrinter::out(std::string_view more) {
  if (!options_.print || more.empty()) return;
  if (thinking_) {
    fmt::print(stderr, "{}\n", stderr_style().reset);
    thinking_ = false;
  }
  if (!write_out(more)) reader_gone_ = true;
  line_open_ = more.back() != '\n';
}

void ReplyPrinter::text(const std::string& more) {
  const std::string certain = stops_.push(more);
  reply_.text += certain;
  out(certain);
}

void ReplyPrinter::handle(const std::vector<ReplyEvent>& events) {
  for (const ReplyEvent& event : events) {
    switch (event.kind) {
      case ReplyEvent::Kind::kThought:
        reply_.thought += event.text;
        if (options_.print) {
          fmt::print(stderr, "{}{}", thinking_ ? "" : stderr_style().dim, event.text);
          std::fflush(stderr);
          thinking_ = true;
        }
        break;
      case ReplyEvent::Kind::kText:
        text(event.text);
        break;
      case ReplyEvent::Kind::kCallBegun:
      case ReplyEvent::Kind::kCallArguments:
        break;  // a call is printed when it is complete
      case ReplyEvent::Kind::kCall:
        reply_.tool_calls.push_back(event.call);
        if (!options_.print_calls) break;
        out(fmt::format("{}{}\n", line_open_ ? "\n" : "", call_text(event.call)));
        break;
    }
  }
}

void ReplyPrinter::take(const Event& event) {
  tokens_.insert(tokens_.end(), event.tokens.begin(), event.tokens.end());
  logprobs_.insert(logprobs_.end(), event.logprobs.begin(), event.logprobs.end());
  if (options_.chat) {
    for (const int32_t token : event.tokens) handle(reader_.push(token));
  } else {
    reply_.text += event.text;
    out(event.text);
  }
  if (event.finish == FinishReason::kNone) return;
  last_ = event;
  if (options_.chat) {
    handle(reader_.finish());
    const std::string rest = stops_.flush();
    reply_.text += rest;
    out(rest);
  }
  if (line_open_ || thinking_) out("\n");
}

std::string ReplyPrinter::finish_reason() const {
  if (!reply_.tool_calls.empty() && last_.finish == FinishReason::kStop) return "tool_calls";
  return finish_reason_name(last_.finish);
}

}  // namespace lapidary::cli
