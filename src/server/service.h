// What every surface works with: the engine's thread, the model's name and abilities, options, workers, the answers
// that run.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "http/http.h"
#include "media/decode_watch.h"
#include "media/processor_options.h"
#include "server/answer.h"
#include "server/api_error.h"
#include "server/engine_thread.h"
#include "server/grammar_cache.h"
#include "server/media_source.h"
#include "server/metrics.h"
#include "server/responses_store.h"
#include "server/work_queue.h"

namespace lapidary::server {

enum class ThinkingDefault : uint8_t { kAuto, kOn, kOff };  // auto: off, but on for the Ollama surface

struct ServeOptions {
  HttpOptions http;
  MediaPolicy media;
  DecodeLimits decode;
  std::string model_id;               // empty: from the model's directory
  std::vector<std::string> aliases;   // further names, * and ? as in file names
  std::optional<bool> any_model;      // whatever name is asked for; absent: on Anthropic's and Ollama's surfaces
  std::vector<std::string> api_keys;  // none: everybody may
  bool no_auth = false;               // on an address that is not loopback, without a key
  std::vector<std::string> cors_origins, allowed_hosts;
  bool metrics = true;
  bool time_info = false, request_metrics = false;  // beside "timings" in completions
  ThinkingDefault thinking = ThinkingDefault::kAuto;
  bool keep_system_messages = false;  // where they stand, in turns of their own
  bool strict_tool_history = false, prefill_assistant = false;
  int32_t choices_max = 8, tools_max = 128, images_max = 16, audios_max = 4, videos_max = 1;
  int32_t messages_max = 10'000, parts_max = 1'000;
  double keep_alive_seconds = 10, request_seconds = 0, drain_seconds = 30;
  int64_t responses_store_bytes = 64 << 20;
  double responses_store_seconds = 3600;
  int64_t transcription_bytes_max = 25 << 20;
  int request_threads = 4, writer_threads = 2;
};

// What is served, as clients ask for it.
struct ModelCard {
  std::string id;
  int64_t created = 0;  // seconds since 1970
  std::string variant;
  int32_t context = 0, context_trained = 0, vocab = 0, dim = 0, layers = 0;
  int64_t parameters = 0, bytes = 0;
  std::string format;  // of most weights: "bf16"
  bool sees = false, hears = false;
  std::string fingerprint;    // "fp_...": changes when answers may
  std::string chat_template;  // the model's own, for those who ask; empty when there is none
};

class Service {
 public:
  Service(std::unique_ptr<Engine> engine, const ServeOptions& options, ProcessorOptions processor);
  ~Service();

  EngineThread& engine() { return engine_; }
  const Tokenizer& tokenizer() const { return engine_.engine().tokenizer(); }
  const ServeOptions& options() const { return options_; }
  const ProcessorOptions& processor() const { return processor_; }
  const GenerationDefaults& defaults() const { return engine_.engine().model().generation_defaults(); }
  const ModelCard& card() const { return card_; }
  const MediaSource& media() const { return media_; }
  GrammarCache& grammars() { return grammars_; }
  Metrics& metrics() { return metrics_; }
  ResponsesStore& responses() { return responses_; }
  WorkerPool& requests() { return requests_; }
  WorkerPool& writers() { return writers_; }

  // One of the names of the model that is served; the empty one, too.
  bool is_name(std::string_view name) const;
  // Whether a request under this name is answered. Errors: kModelNotFound.
  std::optional<ApiError> check_model(Surface surface, const std::string& name) const;

  // Starts an answer and keeps it among those that run until it ends. Errors: kQueueFull, bad requests of the engine.
  ApiResult<std::shared_ptr<Answer>> start(AnswerRequest request, std::shared_ptr<HttpExchange> exchange,
                                           std::unique_ptr<AnswerWriter> writer);
  // Keep-alives, deadlines; about once a second.
  void tick();
  // No new answers from now on.
  void drain() { draining_ = true; }
  bool draining() const { return draining_; }
  size_t running() const;
  // Ends what still runs, with an error for its clients.
  void abort_all();

 private:
  ServeOptions options_;
  ProcessorOptions processor_;
  ModelCard card_;
  MediaSource media_;
  GrammarCache grammars_;
  Metrics metrics_;
  ResponsesStore responses_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Answer>> answers_;
  std::atomic<bool> draining_{false};
  EngineThread engine_;
  WorkerPool writers_, requests_;  // last: they use what is above
};

// * any characters, ? one; nothing else is special.
bool matches_pattern(std::string_view pattern, std::string_view text);

}  // namespace lapidary::server
