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
#include "cli/terminal.h"
#include "media/audio_file.h"
#include "prompt/subtitles.h"
#include "prompt/transcription.h"

namespace lapidary::cli {
namespace {

struct TranscribeOptions {
  ModelOptions model;
  std::string file, format = "text";
  TranscriptionOptions windows;
};

// Writes windows as they come, but for JSON, which is one object at the end.
class Writer {
 public:
  explicit Writer(const std::string& format)
      : text_(format == "text"),
        json_(format == "json"),
        subtitles_(format == "vtt" ? SubtitleFormat::kVtt : SubtitleFormat::kSrt) {
    if (!text_ && !json_) write(subtitle_header(subtitles_));
  }

  // more: what the window adds to the whole text.
  void add(const TranscribedWindow& window, std::string_view more) {
    if (window.text.empty()) return;
    ++cues_;
    if (text_) write(more);
    if (!text_ && !json_) write(subtitle_cue(cues_, window.begin, window.end, window.text, subtitles_));
  }

  void finish() {
    if (text_ && cues_ > 0) write("\n");
  }

  bool reader_gone() const { return reader_gone_; }

 private:
  void write(std::string_view text) {
    if (!text.empty() && !write_out(text)) reader_gone_ = true;
  }

  bool text_, json_;
  SubtitleFormat subtitles_;
  int64_t cues_ = 0;
  bool reader_gone_ = false;
};

Result<Transcription> read_recording(const TranscribeOptions& options, const Engine& engine) {
  ASSIGN_OR_RETURN(ProcessorOptions processor, model_processor_options(engine.model()));
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(options.file));
  ASSIGN_OR_RETURN(Waveform wave, decode_audio(file.bytes(), options.file));
  Transcription recording(std::move(wave), processor, options.windows);
  if (recording.cut()) {
    spdlog::warn("{}: only the first {} minutes are transcribed", options.file, kLimits.audio_seconds_max / 60);
  }
  if (recording.size() == 0) spdlog::warn("{}: nothing but silence", options.file);
  return recording;
}

// Asks the model about one window; adds what it took to usage and timing. Cancelled when the user interrupts.
Result<void> hear(Engine& engine, Transcription& recording, int32_t window, Usage& usage, Timing& timing) {
  const Stopwatch watch;
  ASSIGN_OR_RETURN(WindowRequest asked, recording.request(engine, window));
  timing.media_ms += watch.milliseconds();
  ReplyPrinter printer(engine.tokenizer(), {.chat = true, .thought_open = asked.thought_open});
  ASSIGN_OR_RETURN(const uint64_t id,
                   engine.submit(std::move(asked.request), [&](const Event& event) { printer.take(event); }));
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
  if (last.finish == FinishReason::kLength || last.repetition) {
    spdlog::warn("{:.1f} s: the answer went on and on; cut after {} tokens",
                 recording.windows()[static_cast<size_t>(window)].begin, last.usage.completion_tokens);
  }
  recording.take(window, printer.reply().text);
  return {};
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
  ASSIGN_OR_RETURN(Transcription recording, read_recording(options, *engine));
  Usage usage;
  Timing timing;
  timing.media_ms = read.milliseconds();
  Writer writer(options.format);
  ProgressLine progress("transcribing");
  int32_t heard = 0;
  while (heard < recording.size() && !interrupted() && !writer.reader_gone()) {
    const TranscribedWindow& window = recording.windows()[static_cast<size_t>(heard)];
    progress.update(static_cast<int64_t>(window.begin), static_cast<int64_t>(recording.seconds()));
    RETURN_IF_ERROR(hear(*engine, recording, heard, usage, timing));
    progress.clear();
    writer.add(window, recording.advance());
    ++heard;
  }
  const bool complete = !recording.cut() && heard == recording.size() && !interrupted() && !writer.reader_gone();
  progress.clear();
  writer.finish();
  spdlog::info("{:.1f} s of sound in {} windows: load {:.0f} ms, media {:.0f} ms, prompts {:.0f} ms, answers {:.0f} ms",
               recording.seconds(), heard, load_ms, timing.media_ms, timing.prefill_ms, timing.decode_ms);
  if (options.format != "json") return {};
  Json json = {{"model", engine->model().dir().path.string()},
               {"variant", engine->model().config().variant},
               {"file", options.file},
               {"seconds", recording.seconds()},
               {"complete", complete},
               {"text", recording.text()}};
  json["windows"] = Json::array();
  for (const TranscribedWindow& window : recording.windows()) {
    if (window.heard) json["windows"].push_back({{"start", window.begin}, {"end", window.end}, {"text", window.text}});
  }
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
  command->add_option("--prompt", options->windows.prompt, "what the model is asked about each window")
      ->type_name("TEXT")
      ->capture_default_str();
  command
      ->add_option("--window", options->windows.window_seconds,
                   "longest window in seconds; long speech is cut where it is quiet")
      ->check(CLI::Range(1.0, TranscriptionOptions{}.window_seconds))
      ->capture_default_str();
  command->add_option("--pause", options->windows.pause_seconds, "a silence of this many seconds begins a new window")
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
