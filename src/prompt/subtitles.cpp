#include "prompt/subtitles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lapidary {
namespace {

std::string escaped(char c, SubtitleFormat format) {
  if (format == SubtitleFormat::kVtt) {
    if (c == '&') return "&amp;";
    if (c == '<') return "&lt;";
    if (c == '>') return "&gt;";
  }
  return std::string(1, c);
}

std::string cue_text(std::string_view text, SubtitleFormat format) {
  std::string out, line;
  const auto end_line = [&] {
    const bool blank = line.find_first_not_of(" \t") == std::string::npos;
    if (!blank) out += (out.empty() ? "" : "\n") + line;
    line.clear();
  };
  for (const char c : text) {
    if (c == '\n' || c == '\r') {
      end_line();
    } else {
      line += escaped(c, format);
    }
  }
  end_line();
  if (format == SubtitleFormat::kSrt) {  // no escapes there
    for (size_t at = out.find("-->"); at != std::string::npos; at = out.find("-->")) out.replace(at, 3, "->");
  }
  return out;
}

}  // namespace

std::string subtitle_time(double seconds, SubtitleFormat format) {
  const int64_t ms = std::llround(std::max(0.0, seconds) * 1e3);
  return fmt::format("{:02d}:{:02d}:{:02d}{}{:03d}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60,
                     format == SubtitleFormat::kSrt ? ',' : '.', ms % 1000);
}

std::string_view subtitle_header(SubtitleFormat format) { return format == SubtitleFormat::kVtt ? "WEBVTT\n\n" : ""; }

std::string subtitle_cue(int64_t number, double begin, double end, std::string_view text, SubtitleFormat format) {
  return fmt::format("{}\n{} --> {}\n{}\n\n", number, subtitle_time(begin, format), subtitle_time(end, format),
                     cue_text(text, format));
}

std::string subtitles(std::span<const TranscribedWindow> windows, SubtitleFormat format) {
  std::string out(subtitle_header(format));
  int64_t cues = 0;
  for (const TranscribedWindow& window : windows) {
    if (!window.text.empty()) out += subtitle_cue(++cues, window.begin, window.end, window.text, format);
  }
  return out;
}

}  // namespace lapidary
