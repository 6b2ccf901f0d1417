#include "server/ollama_models.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/fnv.h"
#include "server/ollama_fields.h"
#include "server/request_reader.h"

namespace lapidary::server {
namespace {

// The version whose interface this is: clients compare it with what they need.
constexpr const char* kOllamaVersion = "0.13.3";
// Models are not unloaded.
constexpr const char* kNever = "2318-12-31T23:59:59Z";

std::string rfc3339(int64_t seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.000000Z", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

// "4.3M", "12.2B"
std::string rounded_count(int64_t count) {
  const auto n = static_cast<double>(count);
  if (n >= 1e9) return fmt::format("{:.1f}B", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.1f}M", n / 1e6);
  return fmt::format("{:.1f}K", n / 1e3);
}

// Tells models apart as a checksum would; no file has it.
std::string digest(const ModelCard& card) {
  std::string hex;
  for (int part = 0; part < 4; ++part) {
    hex +=
        fmt::format("{:016x}", fnv1a(fmt::format("{} {} {} {}", part, card.fingerprint, card.bytes, card.parameters)));
  }
  return hex;
}

Json details(Service& service) {
  const ModelCard& card = service.card();
  std::string level = card.format;
  std::transform(level.begin(), level.end(), level.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  const bool gguf = service.engine().engine().model().dir().path.extension() == ".gguf";
  return {{"parent_model", ""},
          {"format", gguf ? "gguf" : "safetensors"},
          {"family", "gemma4"},
          {"families", {"gemma4"}},
          {"parameter_size", rounded_count(card.parameters)},
          {"quantization_level", level},
          {"context_length", card.context}};
}

Json capabilities(const ModelCard& card) {
  Json list = {"completion", "tools", "thinking"};
  if (card.sees) list.push_back("vision");
  if (card.hears) list.push_back("audio");
  return list;
}

std::vector<std::string> names(const Service& service) {
  std::vector<std::string> all = {service.card().id};
  for (const std::string& alias : service.options().aliases) {
    if (alias.find_first_of("*?") == std::string::npos) all.push_back(alias);
  }
  for (std::string& name : all) {
    if (name.find(':') == std::string::npos) name += ":latest";
  }
  return all;
}

Json model_json(Service& service, const std::string& name) {
  return {{"name", name},
          {"model", name},
          {"size", service.card().bytes},
          {"digest", digest(service.card())},
          {"details", details(service)}};
}

// In the form of a Modelfile's PARAMETER lines.
std::string parameters(const Service& service) {
  const GenerationDefaults& defaults = service.defaults();
  return fmt::format("num_ctx {}\nstop \"<turn|>\"\ntemperature {}\ntop_k {}\ntop_p {}", service.card().context,
                     defaults.temperature, defaults.top_k, defaults.top_p);
}

std::string modelfile(const Service& service) {
  std::string text = fmt::format("FROM {}\n", service.card().id), lines = parameters(service);
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.size(), lines.find('\n', begin));
    text += fmt::format("PARAMETER {}\n", lines.substr(begin, end - begin));
    begin = end + 1;
  }
  return text;
}

// The model that a body names, as model or as name.
ApiResult<std::string> named_model(const Service& service, const Json& body) {
  std::optional<ApiError> error;
  const RequestReader reader(body, "", error);
  std::string name = read_ollama_model(service, reader, reader.has("model") ? "model" : "name");
  if (error) return std::move(*error);
  return name;
}

}  // namespace

void handle_ollama_tags(Service& service, const Call& call) {
  Json models = Json::array();
  for (const std::string& name : names(service)) {
    Json model = model_json(service, name);
    model["modified_at"] = rfc3339(service.card().created);
    model["capabilities"] = capabilities(service.card());
    models.push_back(std::move(model));
  }
  call.respond_json({{"models", std::move(models)}});
}

void handle_ollama_running(Service& service, const Call& call) {
  Json model = model_json(service, names(service).front());
  model["expires_at"] = kNever;
  model["size_vram"] = 0;  // weights lie in the host's memory
  model["context_length"] = service.card().context;
  Json models = Json::array();
  models.push_back(std::move(model));
  call.respond_json({{"models", std::move(models)}});
}

void handle_ollama_show(Service& service, const Call& call) {
  const ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  const ApiResult<std::string> name = named_model(service, *body);
  if (!name) return call.fail(name.error());
  const ModelCard& card = service.card();
  // Copilot shows the basename as the model's name and then asks for it.
  const std::string* agent = call.header("user-agent");
  const bool copilot = agent && agent->starts_with("GitHubCopilotChat/");
  call.respond_json({{"license", ""},
                     {"modelfile", modelfile(service)},
                     {"parameters", parameters(service)},
                     {"template", card.chat_template},
                     {"details", details(service)},
                     {"model_info",
                      {{"general.architecture", "gemma4"},
                       {"general.basename", copilot ? *name : card.variant},
                       {"general.parameter_count", card.parameters},
                       {"gemma4.context_length", card.context},
                       {"gemma4.embedding_length", card.dim},
                       {"gemma4.block_count", card.layers}}},
                     {"capabilities", capabilities(card)},
                     {"modified_at", rfc3339(card.created)}});
}

void handle_ollama_version(Service&, const Call& call) { call.respond_json({{"version", kOllamaVersion}}); }

void handle_ollama_pull(Service& service, const Call& call) {
  const ApiResult<Json> body = parse_body(call.body->bytes);
  if (!body) return call.fail(body.error());
  const ApiResult<std::string> name = named_model(service, *body);
  if (!name) return call.fail(name.error());
  // Answering under any name is one thing; to have fetched that model is another.
  if (!service.is_name(*name))
    return call.fail(
        {ErrorKind::kModelNotFound, "",
         fmt::format("pull model manifest: '{}' is not here, this server has '{}'", *name, service.card().id)});
  std::optional<ApiError> error;
  const bool stream = RequestReader(*body, "", error).boolean("stream").value_or(true);
  if (error) return call.fail(*error);
  if (!stream) return call.respond_json({{"status", "success"}});
  NdjsonStream lines(call);
  lines.begin();
  lines.line({{"status", "pulling manifest"}});
  lines.line({{"status", "success"}});
  lines.end();
}

void handle_ollama_unsupported(Service&, const Call& call) {
  call.fail({ErrorKind::kNotSupported, "", "not supported by this server"});
}

}  // namespace lapidary::server
