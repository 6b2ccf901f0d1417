// A recording of any length to text: which requests its windows make, and what becomes of the answers. Runs nothing
// itself, so that a command may wait for each answer and a server for none of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "media/audio_file.h"
#include "media/processor_options.h"
#include "media/sound_windows.h"

namespace lapidary {

struct TranscriptionOptions {
  std::string prompt = "Transcribe the recording.";  // of each window; see transcription_prompt
  double window_seconds = static_cast<double>(kLimits.audio_clip_samples_max) / kSampleRate;  // at most
  double pause_seconds = WindowOptions{}.pause_seconds;  // a silence of that length begins a new window
  float temperature = 0;
};

// What to ask for: in the recording's own language or translated into English, with hints (each may be empty) at the
// language spoken and at words that come up.
std::string transcription_prompt(std::string_view language, std::string_view context, bool translate);

struct TranscribedWindow {
  double begin = 0, end = 0;  // seconds
  bool after_pause = false;   // a pause stands between it and the one before; the first: true
  bool heard = false;
  std::string text;  // when heard; may be empty
};

// One window, ready to submit.
struct WindowRequest {
  GenerationRequest request;
  bool thought_open = false;  // of the reply, for ReplyReader
};

class Transcription {
 public:
  // Finds the windows; silence alone has none. processor: model_processor_options of the model that will hear them.
  Transcription(Waveform wave, ProcessorOptions processor, TranscriptionOptions options);

  const std::vector<TranscribedWindow>& windows() const { return windows_; }
  int32_t size() const { return static_cast<int32_t>(windows_.size()); }
  double seconds() const { return wave_.seconds(); }
  bool cut() const { return wave_.cut; }  // the recording goes on behind what is read

  // Any thread, any order. Errors: kInvalidArgument for a window that is too short to hear.
  Result<WindowRequest> request(const Engine& engine, int32_t window) const;

  // The text of a window's reply, white space around it dropped. Windows may come in any order, each once.
  void take(int32_t window, std::string_view text);

  // What became known since the last call of the text from the beginning: all windows up to the first one that was not
  // heard, a new line after each pause and a space where a window was full.
  std::string advance();
  // All of it so far.
  const std::string& text() const { return text_; }

 private:
  Waveform wave_;
  ProcessorOptions processor_;
  TranscriptionOptions options_;
  std::vector<SoundWindow> cuts_;
  std::vector<TranscribedWindow> windows_;
  size_t joined_ = 0;  // windows whose text is part of text_
  std::string text_;
};

}  // namespace lapidary
