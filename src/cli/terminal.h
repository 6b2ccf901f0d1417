// What the commands share about the terminal: the one-line error, colours, progress, Ctrl-C.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lapidary::cli {

inline constexpr int kExitDone = 0, kExitFailed = 1, kExitUsage = 2;

// "lapidary: error: ..." on stderr, one line; returns kExitFailed.
int fail(const Error& error);

bool stdout_is_terminal();
bool stderr_is_terminal();

// Styles for a stream: empty strings unless it is a terminal and NO_COLOR is unset.
struct Style {
  std::string_view bold, dim, blue, green, red, reset;
};
const Style& stdout_style();
const Style& stderr_style();

// One line on stderr that overwrites itself; silent when stderr is not a terminal.
class ProgressLine {
 public:
  explicit ProgressLine(std::string label);
  ~ProgressLine();
  void update(int64_t done, int64_t total);  // draws a bar
  void clear();

 private:
  std::string label_;
  bool drawn_ = false;
};

// SIGINT sets a flag instead of ending the program. The second SIGINT in a row, with nobody having taken the first,
// ends it.
void catch_interrupts();
bool interrupted();     // since the last take
bool take_interrupt();  // and clears it

// Writes to stdout; false when the reader has gone (SIGPIPE is ignored).
bool write_out(std::string_view text);

}  // namespace lapidary::cli
