#include "server/routes.h"

#include <algorithm>

#include "server/anthropic_messages.h"
#include "server/model_routes.h"
#include "server/ollama_chat.h"
#include "server/ollama_models.h"
#include "server/openai_audio.h"
#include "server/openai_chat.h"
#include "server/openai_completions.h"
#include "server/operations.h"
#include "server/page_routes.h"
#include "server/responses.h"

namespace lapidary::server {
namespace {

constexpr Surface kOpenAi = Surface::kOpenAi;
constexpr Surface kAnthropic = Surface::kAnthropic;
constexpr Surface kOllama = Surface::kOllama;

constexpr Route kRoutes[] = {
    {"POST", "/v1/chat/completions", kOpenAi, handle_chat},
    {"POST", "/chat/completions", kOpenAi, handle_chat},
    {"POST", "/v1/chat/completions/input_tokens", kOpenAi, handle_chat_count},
    {"POST", "/v1/responses", kOpenAi, handle_responses},
    {"POST", "/responses", kOpenAi, handle_responses},
    {"POST", "/v1/responses/input_tokens", kOpenAi, handle_responses_count},
    {"POST", "/v1/responses/compact", kOpenAi, handle_no_response},
    {"GET", "/v1/responses/{id}", kOpenAi, handle_response},
    {"DELETE", "/v1/responses/{id}", kOpenAi, handle_response_delete},
    {"POST", "/v1/responses/{id}/cancel", kOpenAi, handle_response_cancel},
    {"GET", "/v1/responses/{id}/input_items", kOpenAi, handle_response_items},
    {"POST", "/apply-template", kOpenAi, handle_apply_template},
    {"GET", "/v1/models", kOpenAi, handle_models},
    {"GET", "/models", kOpenAi, handle_models},
    {"GET", "/v1/models/{id...}", kOpenAi, handle_model},
    {"GET", "/models/{id...}", kOpenAi, handle_model},
    {"POST", "/v1/completions", kOpenAi, handle_completions},
    {"POST", "/v1/audio/transcriptions", kOpenAi, handle_transcription},
    {"POST", "/audio/transcriptions", kOpenAi, handle_transcription},
    {"POST", "/v1/audio/translations", kOpenAi, handle_translation},
    {"POST", "/v1/embeddings", kOpenAi, handle_embeddings},
    {"POST", "/embeddings", kOpenAi, handle_embeddings},
    {"GET", "/", kOpenAi, handle_root, true},
    {"GET", "/page/{name}", kOpenAi, handle_page_file, true},
    {"GET", "/metrics", kOpenAi, handle_metrics, false, true},
    {"GET", "/health", kOpenAi, handle_health, true, true},
    {"GET", "/v1/health", kOpenAi, handle_health, true, true},
    {"GET", "/healthz", kOpenAi, handle_live, true, true},
    {"GET", "/livez", kOpenAi, handle_live, true, true},
    {"GET", "/readyz", kOpenAi, handle_health, true, true},
    {"GET", "/ping", kOpenAi, handle_live, true, true},
    {"GET", "/version", kOpenAi, handle_version},
    {"GET", "/load", kOpenAi, handle_load},
    {"GET", "/props", kOpenAi, handle_props},
    {"POST", "/props", kOpenAi, handle_switched_off},
    {"GET", "/slots", kOpenAi, handle_switched_off},
    {"POST", "/slots/{id}", kOpenAi, handle_switched_off},
    {"POST", "/infill", kOpenAi, handle_switched_off},
    {"POST", "/rerank", kOpenAi, handle_switched_off},
    {"POST", "/v1/rerank", kOpenAi, handle_switched_off},
    {"GET", "/lora-adapters", kOpenAi, handle_switched_off},
    {"POST", "/tokenize", kOpenAi, handle_tokenize},
    {"POST", "/detokenize", kOpenAi, handle_detokenize},
    {"POST", "/v1/messages", kAnthropic, handle_messages},
    {"POST", "/messages", kAnthropic, handle_messages},
    {"POST", "/v1/messages/count_tokens", kAnthropic, handle_count_tokens},
    {"POST", "/messages/count_tokens", kAnthropic, handle_count_tokens},
    {"POST", "/api/chat", kOllama, handle_ollama_chat},
    {"POST", "/api/generate", kOllama, handle_ollama_generate},
    {"GET", "/api/tags", kOllama, handle_ollama_tags},
    {"GET", "/api/ps", kOllama, handle_ollama_running},
    {"POST", "/api/show", kOllama, handle_ollama_show},
    {"GET", "/api/version", kOllama, handle_ollama_version},
    {"POST", "/api/pull", kOllama, handle_ollama_pull},
    {"POST", "/api/embed", kOllama, handle_ollama_unsupported},
    {"POST", "/api/embeddings", kOllama, handle_ollama_unsupported},
    {"POST", "/api/create", kOllama, handle_ollama_unsupported},
    {"POST", "/api/push", kOllama, handle_ollama_unsupported},
    {"POST", "/api/copy", kOllama, handle_ollama_unsupported},
    {"DELETE", "/api/delete", kOllama, handle_ollama_unsupported},
    {"HEAD", "/api/blobs/{digest}", kOllama, handle_ollama_unsupported},
    {"POST", "/api/blobs/{digest}", kOllama, handle_ollama_unsupported},
};

using Parts = std::span<const std::string_view>;

// Some clients append /v1/... to a base URL that ends in /v1.
Parts parts_of(const RequestTarget& target) {
  const Parts parts = target.segments;
  return parts.size() > 1 && parts[0] == "v1" && parts[1] == "v1" ? parts.subspan(1) : parts;
}

bool matches(std::string_view pattern, Parts parts, std::vector<std::string>& parameters) {
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // the slash
    const std::string_view wanted = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(wanted.size());
    if (wanted.empty()) continue;  // "/" alone
    if (parts.empty()) return false;
    if (wanted.starts_with('{')) {
      const size_t taken = wanted.ends_with("...}") ? parts.size() : 1;
      std::string value;
      for (size_t i = 0; i < taken; ++i) value += (i > 0 ? "/" : "") + percent_decode(parts[i]).value();
      parameters.push_back(std::move(value));
      parts = parts.subspan(taken);
    } else {
      if (wanted != parts[0]) return false;
      parts = parts.subspan(1);
    }
  }
  return parts.empty();
}

}  // namespace

std::span<const Route> routes() { return kRoutes; }

RouteMatch find_route(std::string_view method, const RequestTarget& target) {
  const Parts parts = parts_of(target);
  RouteMatch match;
  for (const Route& route : kRoutes) {
    std::vector<std::string> parameters;
    if (!matches(route.pattern, parts, parameters)) continue;
    if (route.method == method || (route.method == "GET" && method == "HEAD"))
      return {&route, std::move(parameters), ""};
    if (match.allow.find(route.method) == std::string::npos)
      match.allow += (match.allow.empty() ? "" : ", ") + std::string(route.method);
  }
  if (!match.allow.empty())
    match.allow += match.allow.find("GET") != std::string::npos ? ", HEAD, OPTIONS" : ", OPTIONS";
  return match;
}

Surface surface_of(const RequestTarget& target) {
  const Parts parts = parts_of(target);
  if (!parts.empty() && parts[0] == "api") return Surface::kOllama;
  const size_t first = !parts.empty() && parts[0] == "v1" ? 1 : 0;
  if (parts.size() > first && parts[first] == "messages") return Surface::kAnthropic;
  return Surface::kOpenAi;
}

}  // namespace lapidary::server
