#include "server/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <sstream>

#include "base/fnv.h"
#include "base/log.h"
#include "server/prepare.h"

namespace lapidary::server {
namespace {

constexpr size_t kGrammarsRemembered = 64;

// "google/gemma-4-12B-it" cannot be known from a directory; its last component can.
std::string model_id(const std::filesystem::path& path) {
  std::error_code failed;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(path, failed);
  std::string name = (failed ? path : whole).filename().string();
  return name.empty() || name == "." ? "gemma-4" : name == "demo" ? "lapidary-demo" : name;
}

std::string chat_template(const std::filesystem::path& directory) {
  std::ifstream in(directory / "chat_template.jinja");
  std::stringstream text;
  if (in) text << in.rdbuf();
  return text.str();
}

ModelCard make_card(const Engine& engine, const ServeOptions& options) {
  const ModelConfig& config = engine.model().config();
  ModelCard card;
  card.id = options.model_id.empty() ? model_id(engine.model().dir().path) : options.model_id;
  card.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  card.variant = config.variant;
  card.context = engine.memory().context;
  card.context_trained = config.positions_max;
  card.vocab = config.vocab;
  card.dim = config.dim;
  card.layers = static_cast<int32_t>(config.layers.size());
  card.bytes = engine.weight_bytes();
  std::map<std::string, int64_t> bytes_of;
  for (const TensorEntry& tensor : engine.model().dir().weights.tensors()) {
    card.parameters += tensor.elements();
    bytes_of[tensor.format ? std::string(format_info(*tensor.format).name) : tensor.element] +=
        static_cast<int64_t>(tensor.bytes.size());
  }
  int64_t most = -1;
  for (const auto& [format, bytes] : bytes_of) {
    if (bytes > most) card.format = format;
    most = std::max(most, bytes);
  }
  card.sees = config.takes_pictures();
  card.hears = config.takes_sound();
  card.fingerprint = fmt::format("fp_{:012x}", fnv1a(fmt::format("{} {} {} {} {}", card.id, card.bytes, card.format,
                                                                 engine.description(), engine.memory().description())) &
                                                   0xffffffffffff);
  card.chat_template = chat_template(engine.model().dir().path);
  return card;
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++p, ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Service::Service(std::unique_ptr<Engine> engine, const ServeOptions& options, ProcessorOptions processor)
    : options_(options),
      processor_(processor),
      card_(make_card(*engine, options)),
      media_(options.media),
      grammars_(kGrammarsRemembered),
      responses_(options.responses_store_bytes, options.responses_store_seconds),
      engine_(std::move(engine)),
      writers_(options.writer_threads, "write"),
      requests_(options.request_threads, "read") {}

// Its thread posts to the workers, which are gone before it otherwise.
Service::~Service() { engine_.stop(); }

bool Service::is_name(std::string_view name) const {
  if (name.empty() || name == card_.id) return true;
  std::string_view bare = name;
  if (bare.ends_with(":latest")) bare.remove_suffix(7);
  if (bare == card_.id) return true;
  for (const std::string& alias : options_.aliases) {
    if (matches_pattern(alias, name) || matches_pattern(alias, bare)) return true;
  }
  // The spelling of a hub's page: owner/name.
  const size_t slash = bare.rfind('/');
  return slash != std::string_view::npos && bare.substr(slash + 1) == card_.id;
}

std::optional<ApiError> Service::check_model(Surface surface, const std::string& name) const {
  if (is_name(name) || options_.any_model.value_or(surface != Surface::kOpenAi)) return {};
  if (surface == Surface::kOllama)
    return ApiError{ErrorKind::kModelNotFound, "", fmt::format("model '{}' not found", name), "model"};
  return ApiError{ErrorKind::kModelNotFound, "",
                  fmt::format("The model `{}` does not exist; this server has `{}`.", name, card_.id), "model"};
}

ApiResult<std::shared_ptr<Answer>> Service::start(AnswerRequest request, std::shared_ptr<HttpExchange> exchange,
                                                  std::unique_ptr<AnswerWriter> writer) {
  if (draining_) return ApiError{ErrorKind::kUnavailable, "", "the server is shutting down", "", 5};
  request.deadline_s = options_.request_seconds;
  const int32_t tokens_max = request.generation.tokens_max;
  Result<std::shared_ptr<Answer>> answer =
      Answer::start(engine_, writers_, std::move(request), std::move(exchange), std::move(writer),
                    [this, tokens_max](const AnswerResult& result) {
                      metrics_.answered(result, tokens_max);
                      const std::lock_guard lock(mutex_);
                      std::erase_if(answers_, [](const auto& each) { return each->done(); });
                    });
  if (!answer) return engine_error(answer.error());
  const std::lock_guard lock(mutex_);
  if (!(*answer)->done()) answers_.push_back(*answer);
  return std::move(*answer);
}

void Service::tick() {
  std::vector<std::shared_ptr<Answer>> answers;
  {
    const std::lock_guard lock(mutex_);
    answers = answers_;
  }
  const Clock::time_point now = Clock::now();
  for (const auto& answer : answers) answer->tick(now);
}

size_t Service::running() const {
  const std::lock_guard lock(mutex_);
  return answers_.size();
}

void Service::abort_all() {
  std::vector<std::shared_ptr<Answer>> answers;
  {
    const std::lock_guard lock(mutex_);
    answers = answers_;
  }
  for (const auto& answer : answers)
    answer->abort({ErrorKind::kUnavailable, "shutting_down", "the server is shutting down", ""});
}

}  // namespace lapidary::server
