// Stop strings in text that arrives in pieces.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

// Finds the stop string that is complete first (of those complete at the same place, the longest), and holds back text
// that may turn out to be the beginning of one. What comes out does not depend on how the text was cut.
class StopStrings {
 public:
  // Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // Text that is certainly before any stop string. After a match, nothing.
  std::string push(std::string_view text);
  // What was held back, when the text ends without a match.
  std::string flush();

  bool stopped() const { return matched_ != kNone; }
  // The string that ended the text; empty while not stopped().
  std::string_view matched() const { return stopped() ? std::string_view(stops_[matched_].text) : std::string_view(); }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  // Knuth, Morris, Pratt 1977: border[i] is the length of the longest proper border of the first i + 1 bytes.
  struct Stop {
    std::string text;
    std::vector<size_t> border;
    size_t matched = 0;  // bytes of text that the input so far ends with
  };

  std::vector<Stop> stops_;
  std::string held_;
  size_t matched_ = kNone;
};

}  // namespace lapidary
