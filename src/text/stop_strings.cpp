#include "text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace lapidary {

StopStrings::StopStrings(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    if (text.empty()) continue;
    std::vector<size_t> border(text.size(), 0);
    for (size_t i = 1, length = 0; i < text.size(); ++i) {
      while (length > 0 && text[i] != text[length]) length = border[length - 1];
      if (text[i] == text[length]) ++length;
      border[i] = length;
    }
    stops_.push_back({std::move(text), std::move(border)});
  }
}

std::string StopStrings::push(std::string_view text) {
  if (stopped()) return {};
  for (const char c : text) {
    held_ += c;
    for (size_t s = 0; s < stops_.size(); ++s) {
      Stop& stop = stops_[s];
      while (stop.matched > 0 && stop.text[stop.matched] != c) stop.matched = stop.border[stop.matched - 1];
      if (stop.text[stop.matched] == c) ++stop.matched;
      const bool complete = stop.matched == stop.text.size();
      if (complete && (!stopped() || stop.text.size() > stops_[matched_].text.size())) matched_ = s;
    }
    if (stopped()) {
      held_.resize(held_.size() - stops_[matched_].text.size());
      return std::exchange(held_, {});
    }
  }
  size_t keep = 0;
  for (const Stop& stop : stops_) keep = std::max(keep, stop.matched);
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string StopStrings::flush() { return stopped() ? std::string() : std::exchange(held_, {}); }

}  // namespace lapidary
