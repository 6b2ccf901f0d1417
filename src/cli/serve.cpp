// serve: the HTTP server.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <thread>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prompt/media_shelf.h"
#include "server/server.h"

namespace lapidary::cli {
namespace {

using server::ServeOptions;
using server::Server;
using server::ThinkingDefault;

// Set by signal handlers, which may do little else.
std::atomic<bool> stop_asked{false}, hurry_asked{false}, keys_asked{false};

void on_stop(int) {
  if (stop_asked.exchange(true)) hurry_asked = true;
}
void on_hangup(int) { keys_asked = true; }

struct ServeCommand {
  ModelOptions model;
  ServeOptions serve;
  std::string api_key_file, thinking = "auto", any_model = "auto";
  std::vector<std::string> limit_mm;
  int32_t sequences_max = 8, queue_max = 256;
  int64_t body_mb = 256, bodies_mb = 1024, image_mb = 32, audio_mb = 64, video_mb = 256, transcription_mb = 25,
          store_mb = 64, decoded_mb = DecodeLimits{}.bytes_max >> 20;
};

// One key a line; empty lines and those that begin with # do not count.
Result<std::vector<std::string>> read_keys(const std::string& path) {
  std::ifstream in(path);
  if (!in) return Error{ErrorCode::kNotFound, fmt::format("--api-key-file {}: cannot be read", path)};
  std::vector<std::string> keys;
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
  if (keys.empty()) return Error{ErrorCode::kInvalidArgument, fmt::format("--api-key-file {}: holds no key", path)};
  return keys;
}

// image=16,audio=4,video=1
Result<void> read_media_limits(const std::vector<std::string>& entries, ServeOptions& options) {
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    const std::string kind = entry.substr(0, equals);
    int32_t* limit = kind == "image"   ? &options.images_max
                     : kind == "audio" ? &options.audios_max
                     : kind == "video" ? &options.videos_max
                                       : nullptr;
    char* rest = nullptr;
    const long value = equals == std::string::npos ? -1 : std::strtol(entry.c_str() + equals + 1, &rest, 10);
    if (!limit || value < 0 || value > 1'000'000 || (rest && *rest != '\0')) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("--limit-mm: expected image=N, audio=N or video=N, found \"{}\"", entry)};
    }
    *limit = static_cast<int32_t>(value);
  }
  return {};
}

Result<ServeOptions> serve_options(const ServeCommand& command) {
  ServeOptions options = command.serve;
  if (const char* key = std::getenv("LAPIDARY_API_KEY"); key && *key) options.api_keys.emplace_back(key);
  if (!command.api_key_file.empty()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> keys, read_keys(command.api_key_file));
    options.api_keys.insert(options.api_keys.end(), keys.begin(), keys.end());
  }
  RETURN_IF_ERROR(read_media_limits(command.limit_mm, options));
  options.thinking = command.thinking == "on"    ? ThinkingDefault::kOn
                     : command.thinking == "off" ? ThinkingDefault::kOff
                                                 : ThinkingDefault::kAuto;
  if (command.any_model != "auto") options.any_model = command.any_model == "on";
  options.http.body_bytes_max = command.body_mb << 20;
  options.http.bodies_bytes_max = command.bodies_mb << 20;
  options.media.image_bytes_max = command.image_mb << 20;
  options.media.audio_bytes_max = command.audio_mb << 20;
  options.media.video_bytes_max = command.video_mb << 20;
  options.decode.bytes_max = command.decoded_mb << 20;
  options.transcription_bytes_max = command.transcription_mb << 20;
  options.responses_store_bytes = command.store_mb << 20;
  return options;
}

Result<void> serve(const ServeCommand& command) {
  RETURN_IF_ERROR(set_log_level(command.model.log_level));
  ASSIGN_OR_RETURN(const ServeOptions options, serve_options(command));
  ASSIGN_OR_RETURN(EngineOptions engine_options, command.model.engine_options());
  engine_options.sequences_max = command.sequences_max;
  engine_options.requests_max = command.queue_max;
  std::signal(SIGINT, on_stop);
  std::signal(SIGTERM, on_stop);
  std::signal(SIGHUP, on_hangup);
  std::signal(SIGPIPE, SIG_IGN);
  // The port first: what is wrong with it is known before a large model is read.
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::open(options));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::open(engine_options));
  ASSIGN_OR_RETURN(ProcessorOptions processor, model_processor_options(engine->model()));
  spdlog::info("{}", engine->memory().description());
  spdlog::info("{} on {}", engine->model().dir().path.string(), engine->description());
  server->serve(std::move(engine), processor);
  const bool v6 = options.http.host.find(':') != std::string::npos && options.http.host.front() != '[';
  write_out(fmt::format("listening on http://{}:{}\n", v6 ? fmt::format("[{}]", options.http.host) : options.http.host,
                        server->port()));
  while (!stop_asked) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (!keys_asked.exchange(false) || command.api_key_file.empty()) continue;
    if (auto keys = serve_options(command)) {
      server->replace_keys(keys->api_keys);
      spdlog::info("API keys were read again");
    } else {
      spdlog::error("{}; the old keys stay", keys.error().message);
    }
  }
  spdlog::info("ending: what runs may finish within {:.0f} s", options.drain_seconds);
  server->drain(hurry_asked);
  return {};
}

}  // namespace

void add_serve(CLI::App& program, Action& action) {
  auto options = std::make_shared<ServeCommand>();
  options->model.log_level = "info";
  CLI::App* command = add_command(program, "serve",
                                  "The HTTP server: OpenAI, Anthropic and Ollama clients, and a chat page.\n\n"
                                  "  lapidary serve\n"
                                  "  lapidary serve --model ~/models/gemma-4-12B-it --port 8000 --sequences-max 16\n"
                                  "  lapidary serve --host 0.0.0.0 --api-key-file keys.txt\n"
                                  "  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": "
                                  "\"user\", \"content\": \"Hi\"}]}'");
  ServeOptions& serve_with = options->serve;
  const char* group = "Server";
  command->add_option("--host", serve_with.http.host, "address to listen on")->capture_default_str()->group(group);
  command->add_option("--port", serve_with.http.port, "port to listen on; 0 takes a free one")
      ->capture_default_str()
      ->group(group);
  command->add_option("--sequences-max", options->sequences_max, "answers that are computed at a time")
      ->check(CLI::Range(1, kLimits.sequences_max))
      ->capture_default_str()
      ->group(group);
  command->add_option("--queue-max", options->queue_max, "answers that may wait for their turn; more are refused")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str()
      ->group(group);
  command->add_option("--model-id", serve_with.model_id, "name of the model for clients (its directory's name)")
      ->type_name("NAME")
      ->group(group);
  command
      ->add_option("--alias", serve_with.aliases, "a further name of the model; * and ? as in file names (repeatable)")
      ->type_name("NAME")
      ->expected(1)
      ->take_all()
      ->group(group);
  command
      ->add_option("--any-model", options->any_model,
                   "answer under any name: on, off, auto (on for Anthropic's and Ollama's clients)")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->group(group);
  command
      ->add_option("--thinking", options->thinking,
                   "when a request does not say: on, off, auto (on for Ollama clients)")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->group(group);
  command->add_flag("--no-metrics{false}", serve_with.metrics, "no /metrics")->group(group);
  command->add_option("--drain-timeout", serve_with.drain_seconds, "seconds that running answers get on SIGTERM")
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--request-timeout", serve_with.request_seconds,
                   "seconds after which an answer is broken off (0: never)")
      ->capture_default_str()
      ->group(group);
  command
      ->add_option("--sse-keepalive-s", serve_with.keep_alive_seconds,
                   "seconds of silence before a stream shows it is alive")
      ->capture_default_str()
      ->group(group);
  command
      ->add_flag("--prefill-assistant", serve_with.prefill_assistant,
                 "a last message of the assistant is the beginning of the reply")
      ->group(group);
  command
      ->add_flag("--keep-system-messages", serve_with.keep_system_messages,
                 "system messages stay where they are, in turns of their own")
      ->group(group);
  command
      ->add_flag("--strict-tool-history", serve_with.strict_tool_history,
                 "refuse histories with arguments that are no JSON objects")
      ->group(group);
  command
      ->add_flag("--time-info", serve_with.time_info,
                 "completions say the seconds they took in time_info, as Cerebras' do")
      ->group(group);
  command
      ->add_flag("--request-metrics", serve_with.request_metrics,
                 "completions say their rates and what drafts did in metrics, as vLLM's do")
      ->group(group);

  const char* access = "Access";
  command
      ->add_option(
          "--api-key-file", options->api_key_file,
          "keys of which a request must have one, one a line; read again on SIGHUP (LAPIDARY_API_KEY adds one)")
      ->type_name("FILE")
      ->group(access);
  command->add_flag("--no-auth", serve_with.no_auth, "no key, also on an address that others can reach")->group(access);
  command->add_option("--cors-origin", serve_with.cors_origins, "origin whose pages may use the server (repeatable)")
      ->type_name("ORIGIN")
      ->expected(1)
      ->take_all()
      ->group(access);
  command->add_option("--allowed-host", serve_with.allowed_hosts, "further Host that requests may name (repeatable)")
      ->type_name("NAME")
      ->expected(1)
      ->take_all()
      ->group(access);
  command->add_option("--media-path", serve_with.media.media_path, "file:// URLs beneath this folder may be used")
      ->type_name("DIR")
      ->group(access);
  command
      ->add_option("--allow-url", serve_with.media.allow_urls,
                   "HOST[:PORT] from which media may be fetched (repeatable)")
      ->type_name("HOST")
      ->expected(1)
      ->take_all()
      ->group(access);
  command
      ->add_flag("--ignore-half-close", serve_with.http.ignore_half_close,
                 "a client that shuts its sending side is still there (for proxies that do)")
      ->group(access);

  const char* limits = "Limits";
  command->add_option("--max-body-mb", options->body_mb, "a request's body")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  command
      ->add_option("--max-bodies-mb", options->bodies_mb,
                   "the bodies of all requests at a time, as sent and out of their content coding")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--max-image-mb", options->image_mb, "one encoded picture")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--max-audio-mb", options->audio_mb, "one encoded recording in a conversation")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--max-video-mb", options->video_mb, "one encoded video")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--max-transcription-mb", options->transcription_mb, "a file for /v1/audio/transcriptions")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  command
      ->add_option("--max-decoded-mb", options->decoded_mb,
                   "all media of one request once decoded: pixels, sampled frames, sound at 16 kHz")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  command
      ->add_option("--image-decode-timeout", serve_with.decode.image_seconds,
                   "seconds that decoding one picture may take (0: any)")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str()
      ->group(limits);
  command
      ->add_option("--video-decode-timeout", serve_with.decode.video_seconds,
                   "seconds that decoding one video or recording may take (0: any)")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--limit-mm", options->limit_mm, "media in one request: image=16,audio=4,video=1")
      ->delimiter(',')
      ->group(limits);
  command->add_option("--max-n", serve_with.choices_max, "answers to one prompt")
      ->check(CLI::Range(1, 128))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--max-tools", serve_with.tools_max, "tools in one request")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--max-connections", serve_with.http.connections_max, "open connections")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--header-timeout", serve_with.http.header_seconds, "seconds for a request's head")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--body-timeout", serve_with.http.body_idle_seconds, "seconds without a byte of a body")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--write-timeout", serve_with.http.write_idle_seconds, "seconds in which a client takes nothing")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str()
      ->group(limits);
  command
      ->add_option("--idle-timeout", serve_with.http.keep_alive_seconds, "seconds between two requests of a connection")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str()
      ->group(limits);
  command->add_option("--responses-store-mb", options->store_mb, "remembered Responses (0: none)")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str()
      ->group(limits);
  options->model.add_to(*command);
  command->callback([=, &action] {
    action = [=] {
      const auto done = serve(*options);
      return done ? kExitDone : fail(done.error());
    };
  });
}

}  // namespace lapidary::cli
