// What a user types into `chat`: lines, and messages of several lines.
#pragma once

#include <istream>
#include <optional>
#include <string>
#include <string_view>

namespace lapidary::cli {

class ChatInput {
 public:
  explicit ChatInput(std::istream& in) : in_(in) {}

  // One message: a line; lines of which all but the last end with a backslash; or a block from """ to """. Absent at
  // the end of the input. Ctrl-C drops what was typed of it and asks again.
  std::optional<std::string> message();

  // One line, asked for with words of one's own. Absent at the end of the input, and after Ctrl-C.
  std::optional<std::string> line(std::string_view question);

  bool ended() const { return ended_; }  // nothing more will come

 private:
  enum class Got { kLine, kInterrupt, kEnd };

  Got read(std::string_view question, std::string& line);
  Got read_message(std::string& text);
  Got read_block(std::string& text);

  std::istream& in_;
  bool ended_ = false;
};

}  // namespace lapidary::cli
