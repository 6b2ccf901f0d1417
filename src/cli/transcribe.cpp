// transcribe: a recording of any length to text, window by window.
#include <fmt/format.h>

#include <memory>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/prompt_input.h"
#include "cli/reply_printer.h"
#include "cli/result_json.h"
#include "cli/subtitles.h"
#include "cli/terminal.h"
#include "media/audio_file.h"
#include "media/sound_windows.h"

namespace lapidary::cli {
namespace {

constexpr double kWindowSecondsMax = static_cast<double>(kLimits.audio_clip_samples_max) / kSampleRate;
// Nobody speaks faster than this; a model that repeats itself for ever does.
constexpr double kTokensPerSecondMax = 12;
constexpr int32_t kTokensMin = 32;

struct TranscribeOptions {
  ModelOptions model;
  std::string file, prompt = "Transcribe the recording.", format = "text";
  double window_seconds = kWindowSecondsMax;
  double pause_seconds = WindowOptions{}.pause_seconds;
};

struct Transcript {
  double begin = 0, end = 0;  // seconds
  bool after_pause = false;
  std::string text;
};

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \n\t\r"), last = text.find_last_not_of(" \n\t\r");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

// Writes windows as they come, but for JSON, which is one object at the end.
class Writer {
 public:
  explicit Writer(const std::string& format)
      : text_(format == "text"),
        json_(format == "json"),
        subtitles_(format == "vtt" ? SubtitleFormat::kVtt : SubtitleFormat::kSrt) {
    if (!text_ && !json_) write(subtitle_header(subtitles_));
  }

  void add(const Transcript& window) {
    if (window.text.empty()) return;
    // A window that ended because it was full goes on in the same line.
    const std::string_view joint = whole_.empty() ? "" : window.after_pause ? "\n" : " ";
    whole_ += joint;
    whole_ += window.text;
    ++cues_;
    if (text_) write(fmt::format("{}{}", joint, window.text));
    if (!text_ && !json_) write(subtitle_cue(cues_, window.begin, window.end, window.text, subtitles_));
  }

  void finish() {
    if (text_ && !whole_.empty()) write("\n");
  }

  const std::string& whole() const { return whole_; }
  bool reader_gone() const { return reader_gone_; }

 private:
  void write(std::string_view text) {
    if (!text.empty() && !write_out(text)) reader_gone_ = true;
  }

  bool text_, json_;
  SubtitleFormat subtitles_;
  std::string whole_;
  int64_t cues_ = 0;
  bool reader_gone_ = false;
};

// Reads the file and tells how the model wants its sound.
struct Recording {
  Waveform wave;
  ProcessorOptions processor;
  std::vector<SoundWindow> windows;
};

Result<Recording> read_recording(const TranscribeOptions& options, const Engine& engine) {
  Recording recording;
  ASSIGN_OR_RETURN(recording.processor, MediaOptions{}.processor_options(engine));
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(options.file));
  ASSIGN_OR_RETURN(recording.wave, decode_audio(file.bytes(), options.file));
  if (recording.wave.cut) {
    spdlog::warn("{}: only the first {} minutes are transcribed", options.file, kLimits.audio_seconds_max / 60);
  }
  WindowOptions cuts;
  cuts.samples_max =
      std::min<int64_t>(std::llround(options.window_seconds * kSampleRate), recording.processor.audio.clip_samples_max);
  cuts.pause_seconds = options.pause_seconds;
  recording.windows = sound_windows(recording.wave.samples, cuts);
  if (recording.windows.empty()) spdlog::warn("{}: nothing but silence", options.file);
  return recording;
}

// The model's answer to one window; adds what it took to usage and timing. Cancelled when the user interrupts.
Result<std::string> hear(Engine& engine, const TranscribeOptions& options, const Recording& recording,
                         const SoundWindow& window, Usage& usage, Timing& timing) {
  const Stopwatch watch;
  const auto samples = std::span(recording.wave.samples)
                           .subspan(static_cast<size_t>(window.begin), static_cast<size_t>(window.end - window.begin));
  LoadedMedia media;
  ASSIGN_OR_RETURN(MediaInput input, audio_input(samples, recording.processor.audio));
  media.inputs.push_back(std::move(input));
  MediaShelf shelf(recording.processor);
  ASSIGN_OR_RETURN(const int32_t index, shelf.add(PartKind::kAudio, std::move(media)));
  Conversation conversation;
  Message user;
  user.role = Role::kUser;
  user.form = ContentForm::kParts;
  user.parts = {{PartKind::kAudio, "", index}, {PartKind::kText, options.prompt}};
  conversation.messages.push_back(std::move(user));
  ASSIGN_OR_RETURN(PromptInput prompt, shelf.write(engine, conversation));
  timing.media_ms += watch.milliseconds();

  GenerationRequest request;
  request.prompt = std::move(prompt.tokens);
  request.media = std::move(prompt.spans);
  request.sampling.temperature = 0;
  const double seconds = static_cast<double>(samples.size()) / kSampleRate;
  request.tokens_max = kTokensMin + static_cast<int32_t>(kTokensPerSecondMax * seconds);
  ReplyPrinter printer(engine.tokenizer(), {.chat = true, .thought_open = prompt.thought_open});
  ASSIGN_OR_RETURN(const uint64_t id,
                   engine.submit(std::move(request), [&](const Event& event) { printer.take(event); }));
  while (engine.step()) {
    if (interrupted()) engine.cancel(id);
  }
  const Event& last = printer.last();
  usage.prompt_tokens += last.usage.prompt_tokens;
  usage.completion_tokens += last.usage.completion_tokens;
  usage.audio_tokens += last.usage.audio_tokens;
  timing.media_ms += last.timing.media_ms;
  timing.prefill_ms += last.timing.prefill_ms;
  timing.decode_ms += last.timing.decode_ms;
  if (last.finish == FinishReason::kLength)
    spdlog::warn("{:.1f} s: the answer went on and on; cut after {} tokens",
                 static_cast<double>(window.begin) / kSampleRate, last.usage.completion_tokens);
  return trimmed(printer.reply().text);
}

Result<void> transcribe(const TranscribeOptions& options) {
  const Stopwatch load;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, options.model.open_engine());
  const double load_ms = load.milliseconds();
  if (!engine->model().config().takes_sound()) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: {} does not hear: its config has no audio_config",
                             engine->model().dir().path.string(), engine->model().config().variant)};
  }
  const Stopwatch read;
  ASSIGN_OR_RETURN(const Recording recording, read_recording(options, *engine));
  Usage usage;
  Timing timing;
  timing.media_ms = read.milliseconds();
  Writer writer(options.format);
  ProgressLine progress("transcribing");
  std::vector<Transcript> transcripts;
  bool complete = !recording.wave.cut;
  for (const SoundWindow& window : recording.windows) {
    progress.update(window.begin / kSampleRate, static_cast<int64_t>(recording.wave.seconds()));
    Transcript transcript{static_cast<double>(window.begin) / kSampleRate,
                          static_cast<double>(window.end) / kSampleRate, window.after_pause, ""};
    ASSIGN_OR_RETURN(transcript.text, hear(*engine, options, recording, window, usage, timing));
    progress.clear();
    writer.add(transcript);
    transcripts.push_back(std::move(transcript));
    if (interrupted() || writer.reader_gone()) {
      complete = false;
      break;
    }
  }
  progress.clear();
  writer.finish();
  spdlog::info("{:.1f} s of sound in {} windows: load {:.0f} ms, media {:.0f} ms, prompts {:.0f} ms, answers {:.0f} ms",
               recording.wave.seconds(), transcripts.size(), load_ms, timing.media_ms, timing.prefill_ms,
               timing.decode_ms);
  if (options.format != "json") return {};
  Json json = {{"model", engine->model().dir().path.string()},
               {"variant", engine->model().config().variant},
               {"file", options.file},
               {"seconds", recording.wave.seconds()},
               {"complete", complete},
               {"text", writer.whole()}};
  json["windows"] = Json::array();
  for (const Transcript& window : transcripts)
    json["windows"].push_back({{"start", window.begin}, {"end", window.end}, {"text", window.text}});
  json["usage"] = usage_json(usage);
  json["timing"] = timing_json(timing, load_ms);
  write_out(dump_json(json) + "\n");
  return {};
}

}  // namespace

void add_transcribe(CLI::App& program, Action& action) {
  auto options = std::make_shared<TranscribeOptions>();
  CLI::App* command = add_command(program, "transcribe",
                                  "Speech to text, of a recording or a video's sound track of any length.\n\n"
                                  "  lapidary transcribe memo.m4a\n"
                                  "  lapidary transcribe talk.mp4 --format srt > talk.srt\n"
                                  "  lapidary transcribe call.wav --prompt \"Transcribe the speech in English.\"");
  command->add_option("FILE", options->file, "sound or video file")->required();
  command->add_option("--format", options->format, "text, json (one object on one line), srt or vtt")
      ->check(CLI::IsMember({"text", "json", "srt", "vtt"}))
      ->capture_default_str();
  command->add_option("--prompt", options->prompt, "what the model is asked about each window")
      ->type_name("TEXT")
      ->capture_default_str();
  command
      ->add_option("--window", options->window_seconds,
                   "longest window in seconds; long speech is cut where it is quiet")
      ->check(CLI::Range(1.0, kWindowSecondsMax))
      ->capture_default_str();
  command->add_option("--pause", options->pause_seconds, "a silence of this many seconds begins a new window")
      ->check(CLI::Range(0.05, 3600.0))
      ->capture_default_str();
  options->model.add_to(*command);
  command->callback([=, &action] {
    action = [=] {
      const auto done = transcribe(*options);
      return done ? kExitDone : fail(done.error());
    };
  });
}

}  // namespace lapidary::cli
