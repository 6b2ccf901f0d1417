#include "server/openai_audio.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "http/multipart.h"
#include "media/audio_file.h"
#include "prompt/media_shelf.h"
#include "prompt/subtitles.h"
#include "prompt/transcription.h"
#include "server/prepare.h"

namespace lapidary::server {
namespace {

constexpr int32_t kWindowsAtATime = 4;  // of one recording among the answers that run

struct SoundForm {
  std::string_view file;
  std::string filename, language, context, format = "json";
  float temperature = 0;
  bool stream = false, has_file = false, granularities = false, translate = false;
};

// What the form says; an error names its field.
std::optional<ApiError> read_field(const MultipartPart& part, SoundForm& form) {
  const std::string value(part.body);
  const std::string& name = part.name;
  if (name == "file") {
    form.file = part.body;
    form.filename = part.filename.value_or("file");
    form.has_file = true;
  } else if (name == "language") {
    form.language = value;
  } else if (name == "prompt") {
    form.context = value;
  } else if (name == "response_format") {
    for (const char* known : {"json", "text", "verbose_json", "srt", "vtt"}) {
      if (value == known) form.format = value;
    }
    if (form.format != value) {
      return bad_request(
          "invalid_value", name,
          fmt::format("response_format: expected json, text, verbose_json, srt or vtt, found \"{}\"", value));
    }
  } else if (name == "temperature") {
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), form.temperature);
    if (code != std::errc() || end != value.data() + value.size() || !(form.temperature >= 0 && form.temperature <= 2))
      return bad_request("invalid_value", name, fmt::format("temperature: expected 0 to 2, found \"{}\"", value));
  } else if (name == "stream") {
    form.stream = value == "true" || value == "1";
  } else if (name == "timestamp_granularities[]" || name == "timestamp_granularities") {
    if (value.find("word") != std::string::npos) {
      return bad_request("unsupported_value", "timestamp_granularities",
                         "timestamp_granularities: times of words are not known, only of segments");
    }
    form.granularities = true;
  }
  return {};
}

ApiResult<SoundForm> read_form(const Service& service, const Call& call, std::vector<MultipartPart>& parts) {
  const std::string* type = call.header("content-type");
  Result<std::vector<MultipartPart>> read = parse_multipart(type ? *type : "", call.body->bytes);
  if (!read) {
    switch (read.error().code) {
      case ErrorCode::kUnsupported:
        return ApiError{ErrorKind::kUnsupportedMediaType, "", read.error().message};
      default:
        return bad_request("invalid_request", "", read.error().message);
    }
  }
  parts = std::move(*read);
  SoundForm form;
  for (const MultipartPart& part : parts) {
    if (auto error = read_field(part, form)) return std::move(*error);
  }
  if (!form.has_file) return bad_request("missing_required_parameter", "file", "missing required parameter: file");
  if (form.file.empty()) return bad_request("invalid_audio", "file", "file: is empty");
  if (static_cast<int64_t>(form.file.size()) > service.options().transcription_bytes_max) {
    return ApiError{ErrorKind::kTooLarge, "media_too_large",
                    fmt::format("file: expected at most {} bytes, found {}", service.options().transcription_bytes_max,
                                form.file.size()),
                    "file"};
  }
  if (form.granularities && form.format != "verbose_json") {
    return bad_request("invalid_value", "timestamp_granularities",
                       "timestamp_granularities: only with response_format verbose_json");
  }
  if (form.stream && form.format != "json" && form.format != "text")
    return bad_request("invalid_value", "stream", "stream: only with response_format json or text");
  return form;
}

// One recording on its way: some of its windows are answered at a time, and what is known from the beginning on is
// written.
class SoundJob : public std::enable_shared_from_this<SoundJob> {
 public:
  SoundJob(Service& service, const Call& call, SoundForm form, Transcription transcription)
      : service_(service), call_(call), form_(std::move(form)), transcription_(std::move(transcription)), sse_(call_) {
    form_.file = {};  // the body's; not needed any more
  }

  void start() {
    call_.exchange->on_gone([weak = weak_from_this()] {
      if (const auto job = weak.lock()) job->cancel();
    });
    {
      const std::lock_guard lock(mutex_);
      if (transcription_.size() == 0) {
        if (form_.stream) sse_.begin();
        return complete();
      }
    }
    for (int32_t i = 0; i < kWindowsAtATime; ++i) next();
  }

  void finished(int32_t window, const AnswerResult& result) {
    {
      const std::lock_guard lock(mutex_);
      --running_;
      const Usage usage = result.usage();
      usage_.prompt_tokens += usage.prompt_tokens;
      usage_.completion_tokens += usage.completion_tokens;
      usage_.audio_tokens += usage.audio_tokens;
      if (over_) return;
      if (result.cancelled || result.choices.front().end == AnswerEnd::kCancelled) return;
      transcription_.take(window, result.choices.front().text);
      const std::string more = transcription_.advance();
      if (form_.stream && !more.empty()) sse_.event({{"type", "transcript.text.delta"}, {"delta", more}});
      if (++heard_ == transcription_.size()) return complete();
    }
    next();
  }

  void failed(const ApiError& error) {
    const std::lock_guard lock(mutex_);
    --running_;
    fail_locked(error);
  }

  void keep_alive() {
    const std::lock_guard lock(mutex_);
    if (form_.stream && begun_ && !over_) sse_.comment();
  }

 private:
  class Writer final : public AnswerWriter {
   public:
    Writer(std::shared_ptr<SoundJob> job, int32_t window) : job_(std::move(job)), window_(window) {}
    void keep_alive() override { job_->keep_alive(); }
    double keep_alive_seconds() const override { return 10; }
    void finish(const AnswerResult& result) override { job_->finished(window_, result); }
    void fail(const ApiError& error) override { job_->failed(error); }

   private:
    std::shared_ptr<SoundJob> job_;
    int32_t window_;
  };

  // Submits the next window, if there is one.
  void next() {
    int32_t window = 0;
    {
      const std::lock_guard lock(mutex_);
      if (over_ || asked_ == transcription_.size()) return;
      window = asked_++;
      ++running_;
    }
    Result<WindowRequest> asked = transcription_.request(service_.engine().engine(), window);
    if (!asked) return failed(bad_request("invalid_audio", "file", asked.error().message));
    AnswerRequest request;
    request.generation = std::move(asked->request);
    request.options.thought_open = asked->thought_open;
    request.options.show_thought = false;
    request.arrived = call_.arrived;
    auto answer = service_.start(std::move(request), nullptr, std::make_unique<Writer>(shared_from_this(), window));
    if (!answer) return failed(answer.error());
    const std::lock_guard lock(mutex_);
    if (form_.stream && !begun_) sse_.begin();
    begun_ = true;
    if (over_) return (*answer)->cancel();
    std::erase_if(answers_, [](const auto& each) { return each->done(); });
    answers_.push_back(std::move(*answer));
  }

  void cancel() {
    const std::lock_guard lock(mutex_);
    over_ = true;
    for (const auto& answer : answers_) answer->cancel();
  }

  void fail_locked(const ApiError& error) {
    if (over_) return;
    over_ = true;
    for (const auto& answer : answers_) answer->cancel();
    if (!form_.stream || !begun_) return call_.fail(error);
    sse_.event(error_json(Surface::kOpenAi, error));
    sse_.end();
  }

  Json token_usage() const {
    return {{"type", "tokens"},
            {"input_tokens", usage_.prompt_tokens},
            {"output_tokens", usage_.completion_tokens},
            {"total_tokens", usage_.prompt_tokens + usage_.completion_tokens},
            {"input_token_details",
             {{"audio_tokens", usage_.audio_tokens}, {"text_tokens", usage_.prompt_tokens - usage_.audio_tokens}}}};
  }

  Json verbose() const {
    Json segments = Json::array();
    for (const TranscribedWindow& window : transcription_.windows()) {
      if (window.text.empty()) continue;
      // What is not measured is 0, so that clients that expect a number find one.
      segments.push_back({{"id", segments.size()},
                          {"seek", static_cast<int64_t>(window.begin * 100)},
                          {"start", window.begin},
                          {"end", window.end},
                          {"text", window.text},
                          {"tokens", service_.tokenizer().encode(window.text, SpecialTokens::kAsText)},
                          {"temperature", form_.temperature},
                          {"avg_logprob", 0.0},
                          {"compression_ratio", 0.0},
                          {"no_speech_prob", 0.0}});
    }
    return {{"task", form_.translate ? "translate" : "transcribe"},
            {"language", form_.language.empty() ? "english" : form_.language},
            {"duration", transcription_.seconds()},
            {"text", transcription_.text()},
            {"segments", std::move(segments)},
            {"usage", {{"type", "duration"}, {"seconds", static_cast<int64_t>(std::ceil(transcription_.seconds()))}}}};
  }

  void complete() {
    over_ = true;
    call_.exchange->on_gone({});
    const std::string& text = transcription_.text();
    if (form_.stream) {
      sse_.event({{"type", "transcript.text.done"}, {"text", text}, {"usage", token_usage()}});
      sse_.text("[DONE]");
      sse_.end();
    } else if (form_.format == "text") {
      call_.respond_text(text + "\n", "text/plain; charset=utf-8");
    } else if (form_.format == "srt") {
      call_.respond_text(subtitles(transcription_.windows(), SubtitleFormat::kSrt), "application/x-subrip");
    } else if (form_.format == "vtt") {
      call_.respond_text(subtitles(transcription_.windows(), SubtitleFormat::kVtt), "text/vtt");
    } else if (form_.format == "verbose_json") {
      call_.respond_json(verbose());
    } else {
      call_.respond_json({{"text", text}, {"usage", token_usage()}});
    }
  }

  Service& service_;
  Call call_;
  SoundForm form_;
  Transcription transcription_;

  std::mutex mutex_;  // guards those below, and what transcription_ has heard
  SseStream sse_;
  std::vector<std::shared_ptr<Answer>> answers_;
  Usage usage_;
  int32_t asked_ = 0, heard_ = 0, running_ = 0;
  bool begun_ = false, over_ = false;
};

void handle_sound(Service& service, const Call& call, bool translate) {
  if (!service.card().hears) {
    return call.fail({ErrorKind::kNotSupported, "unsupported_endpoint",
                      fmt::format("{} does not hear; audio needs a model that does", service.card().id)});
  }
  std::vector<MultipartPart> parts;
  ApiResult<SoundForm> form = read_form(service, call, parts);
  if (!form) return call.fail(form.error());
  form->translate = translate;
  DecodeBudget budget(service.options().decode);
  Result<Waveform> wave = decode_audio(std::as_bytes(std::span(form->file.data(), form->file.size())), "file",
                                       kAudioSamplesMax, DecodeWatch(budget, MediaKind::kAudio));
  if (!wave) {
    const bool unsupported = wave.error().code == ErrorCode::kUnsupported;
    return call.fail(
        bad_request(unsupported ? "unsupported_media_type" : "invalid_audio", "file", wave.error().message));
  }
  TranscriptionOptions options;
  options.temperature = form->temperature;
  if (!form->language.empty() || !form->context.empty() || translate)
    options.prompt = transcription_prompt(form->language, form->context, translate);
  Call kept = call;
  kept.body.reset();
  const auto job = std::make_shared<SoundJob>(service, kept, std::move(*form),
                                              Transcription(std::move(*wave), service.processor(), std::move(options)));
  job->start();
}

}  // namespace

void handle_transcription(Service& service, const Call& call) { handle_sound(service, call, false); }
void handle_translation(Service& service, const Call& call) { handle_sound(service, call, true); }

}  // namespace lapidary::server
