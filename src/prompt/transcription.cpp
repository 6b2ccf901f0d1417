#include "prompt/transcription.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "prompt/media_shelf.h"

namespace lapidary {
namespace {

// Nobody speaks faster than this; a model that repeats itself for ever does.
constexpr double kTokensPerSecondMax = 12;
constexpr int32_t kTokensMin = 32;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \n\t\r";
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) + 1 - first);
}

}  // namespace

std::string transcription_prompt(std::string_view language, std::string_view context, bool translate) {
  std::string prompt =
      translate ? "Translate the speech of the recording into English." : TranscriptionOptions{}.prompt;
  if (!language.empty()) prompt += fmt::format(" The language spoken is {}.", language);
  if (!context.empty()) prompt += fmt::format(" Context, to spell names by: {}", context);
  return prompt;
}

Transcription::Transcription(Waveform wave, ProcessorOptions processor, TranscriptionOptions options)
    : wave_(std::move(wave)), processor_(processor), options_(std::move(options)) {
  WindowOptions cuts;
  const int64_t samples = std::llround(options_.window_seconds * kSampleRate);
  cuts.samples_max = std::max<int64_t>(kSampleRate, std::min<int64_t>(samples, processor_.audio.clip_samples_max));
  cuts.pause_seconds = options_.pause_seconds;
  cuts_ = sound_windows(wave_.samples, cuts);
  windows_.reserve(cuts_.size());
  for (const SoundWindow& cut : cuts_) {
    windows_.push_back(
        {static_cast<double>(cut.begin) / kSampleRate, static_cast<double>(cut.end) / kSampleRate, cut.after_pause});
  }
}

Result<WindowRequest> Transcription::request(const Engine& engine, int32_t window) const {
  const SoundWindow& cut = cuts_[static_cast<size_t>(window)];
  const auto samples =
      std::span(wave_.samples).subspan(static_cast<size_t>(cut.begin), static_cast<size_t>(cut.end - cut.begin));
  LoadedMedia media;
  ASSIGN_OR_RETURN(MediaInput input, audio_input(samples, processor_.audio));
  media.inputs.push_back(std::move(input));
  MediaShelf shelf(processor_);
  ASSIGN_OR_RETURN(const int32_t index, shelf.add(PartKind::kAudio, std::move(media)));
  Conversation conversation;
  Message user;
  user.role = Role::kUser;
  user.form = ContentForm::kParts;
  user.parts = {{PartKind::kAudio, "", index}, {PartKind::kText, options_.prompt}};
  conversation.messages.push_back(std::move(user));
  ASSIGN_OR_RETURN(PromptInput prompt, shelf.write(engine, conversation));
  WindowRequest made;
  made.thought_open = prompt.thought_open;
  made.request.prompt = std::move(prompt.tokens);
  made.request.media = std::move(prompt.spans);
  made.request.sampling.temperature = options_.temperature;
  const double seconds = static_cast<double>(samples.size()) / kSampleRate;
  made.request.tokens_max = kTokensMin + static_cast<int32_t>(kTokensPerSecondMax * seconds);
  return made;
}

void Transcription::take(int32_t window, std::string_view text) {
  TranscribedWindow& heard = windows_[static_cast<size_t>(window)];
  CHECK(!heard.heard);
  heard.heard = true;
  heard.text = trimmed(text);
}

std::string Transcription::advance() {
  const size_t known = text_.size();
  for (; joined_ < windows_.size() && windows_[joined_].heard; ++joined_) {
    const TranscribedWindow& window = windows_[joined_];
    if (window.text.empty()) continue;
    // A window that ended because it was full goes on in the same line.
    if (!text_.empty()) text_ += window.after_pause ? '\n' : ' ';
    text_ += window.text;
  }
  return text_.substr(known);
}

}  // namespace lapidary
