// Timed lines of text as SubRip (.srt) and WebVTT (.vtt).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "prompt/transcription.h"

namespace lapidary {

enum class SubtitleFormat : uint8_t { kSrt, kVtt };

// "01:02:03,004" (SubRip) or "01:02:03.004"; seconds are rounded to milliseconds and not below 0.
std::string subtitle_time(double seconds, SubtitleFormat format);

// What stands before the first cue.
std::string_view subtitle_header(SubtitleFormat format);

// One cue, a blank line after it. A blank line in the text would end the cue and an arrow would begin another: blank
// lines are left out, and WebVTT's own characters are escaped. number counts from 1.
std::string subtitle_cue(int64_t number, double begin, double end, std::string_view text, SubtitleFormat format);

// All windows in which something was said, header and cues.
std::string subtitles(std::span<const TranscribedWindow> windows, SubtitleFormat format);

}  // namespace lapidary
