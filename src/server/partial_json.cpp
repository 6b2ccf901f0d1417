#include "server/partial_json.h"

#include <string>

namespace lapidary::server {
namespace {

// Walks JSON text and remembers the last place where closing the open brackets gives a whole document.
class Walk {
 public:
  void run(std::string_view text) {
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (in_string_) {
        if (c == '"' && !escaped_) end_string(i + 1);
        escaped_ = c == '\\' && !escaped_;
      } else if (c == '"') {
        in_string_ = true;
      } else if (c == '{' || c == '[') {
        closing_ += c == '{' ? '}' : ']';
        expects_key_ = c == '{';
        in_word_ = false;
        keep(i + 1);
      } else if (c == '}' || c == ']' || c == ',') {
        if (in_word_) keep(i);
        in_word_ = false;
        if (c != ',' && closing_.empty()) return;
        if (c != ',') {
          closing_.pop_back();
          keep(i + 1);
        }
        expects_key_ = c == ',' && !closing_.empty() && closing_.back() == '}';
      } else if (c == ':') {
        expects_key_ = false;
      } else if (c != ' ') {
        in_word_ = true;  // a number, true, false, null: whole where it ends
      }
    }
  }

  std::string closed(std::string_view text) const {
    return std::string(text.substr(0, kept_)) + std::string(kept_closing_.rbegin(), kept_closing_.rend());
  }

 private:
  void end_string(size_t end) {
    in_string_ = false;
    if (!expects_key_) keep(end);
  }
  void keep(size_t end) {
    kept_ = end;
    kept_closing_ = closing_;
  }

  std::string closing_, kept_closing_;  // brackets still to come, outermost first
  size_t kept_ = 0;
  bool in_string_ = false, escaped_ = false, in_word_ = false, expects_key_ = false;
};

}  // namespace

Json complete_part(std::string_view fragment) {
  Walk walk;
  walk.run(fragment);
  Result<Json> json = parse_json(walk.closed(fragment), "arguments");
  return json && json->is_object() ? std::move(*json) : Json::object();
}

}  // namespace lapidary::server
