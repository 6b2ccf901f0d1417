#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace lapidary::cli {
namespace {

volatile std::sig_atomic_t interrupt_count = 0;

void on_interrupt(int) {
  interrupt_count = interrupt_count + 1;
  if (interrupt_count > 1) _exit(130);
}

Style style_for(bool terminal) {
  if (!terminal || std::getenv("NO_COLOR") != nullptr) return {};
  return {"\033[1m", "\033[2m", "\033[34m", "\033[32m", "\033[31m", "\033[0m"};
}

}  // namespace

int fail(const Error& error) {
  // An error is one line whatever the message holds.
  std::string line = error.message;
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print(stderr, "{}lapidary: error:{} {}\n", stderr_style().red, stderr_style().reset, line);
  return kExitFailed;
}

bool stdout_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

const Style& stdout_style() {
  static const Style style = style_for(stdout_is_terminal());
  return style;
}

const Style& stderr_style() {
  static const Style style = style_for(stderr_is_terminal());
  return style;
}

ProgressLine::ProgressLine(std::string label) : label_(std::move(label)) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::update(int64_t done, int64_t total) {
  if (!stderr_is_terminal() || total <= 0) return;
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(std::clamp<int64_t>(done * kWidth / total, 0, kWidth));
  fmt::print(stderr, "\r{} {}{}{} {}/{} ", label_, stderr_style().blue,
             std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(kWidth - filled), '.'),
             stderr_style().reset, done, total);
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressLine::clear() {
  if (drawn_) {
    fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
  }
  drawn_ = false;
}

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return interrupt_count > 0; }

bool take_interrupt() {
  const bool was = interrupt_count > 0;
  interrupt_count = 0;
  return was;
}

bool write_out(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

}  // namespace lapidary::cli
