#include "server/model_routes.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <string_view>

namespace lapidary::server {
namespace {

std::vector<std::string> names(const Service& service) {
  std::vector<std::string> all = {service.card().id};
  for (const std::string& alias : service.options().aliases) {
    if (alias.find_first_of("*?") == std::string::npos) all.push_back(alias);
  }
  return all;
}

Json capabilities(const ModelCard& card) {
  Json list = {"completion"};
  if (card.sees) list.push_back("vision");
  if (card.hears) list.push_back("audio");
  list.push_back("tools");
  list.push_back("thinking");
  return list;
}

Json modalities(const ModelCard& card) {
  Json list = {"text"};
  if (card.sees) list.push_back("image");
  if (card.hears) list.push_back("audio");
  if (card.sees) list.push_back("video");
  return list;
}

Json openai_model(const Service& service, const std::string& name) {
  const ModelCard& card = service.card();
  return {{"id", name},
          {"object", "model"},
          {"created", card.created},
          {"owned_by", "lapidary"},
          {"root", card.id},
          {"parent", nullptr},
          {"max_model_len", card.context},
          {"context_length", card.context},
          {"meta",
           {{"n_ctx_train", card.context_trained},
            {"n_ctx", card.context},
            {"n_params", card.parameters},
            {"size", card.bytes},
            {"n_vocab", card.vocab},
            {"n_embd", card.dim}}},
          {"architecture", {{"input_modalities", modalities(card)}, {"output_modalities", {"text"}}}},
          {"capabilities", capabilities(card)}};
}

Json anthropic_model(const Service& service, const std::string& name) {
  const ModelCard& card = service.card();
  return {{"type", "model"},
          {"id", name},
          {"display_name", name},
          {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(card.created)))},
          {"max_input_tokens", card.context},
          {"max_tokens", card.context}};
}

// Codex has instructions of its own for no model but its vendor's, and leaves out a model that brings none.
constexpr std::string_view kCodingInstructions =
    R"(You are a coding agent. You work in the user's terminal, on the files of the current directory, by calling tools.

- Look before you change: read the files that matter and search with rg or grep. Never invent file contents, paths or command output.
- Follow AGENTS.md where a folder has one, and the style of the code around your change.
- Change only what the task needs. Do not commit, switch branches, or delete files that you did not create unless you are asked to.
- When the project has tests or a build, run them after a change, read what they print, and fix what you broke.
- When a command fails, say why and try something else; do not repeat the same call.
- Work until the task is done. Then stop calling tools and say in a few sentences what you changed and how you checked it.

To edit files, use apply_patch where it is offered. A patch has this form:

*** Begin Patch
*** Update File: path/to/file.py
@@ def name():
 a line that stays
-a line that goes
+a line that comes
*** Add File: path/to/new.py
+every line of a new file begins with a plus sign
*** Delete File: path/to/old.py
*** End Patch

Lines that stay begin with one space; give about three of them around each change, exactly as the file has them. Paths are relative.)";

// What Codex keeps in its catalogue.
Json codex_model(const Service& service, const std::string& name) {
  const ModelCard& card = service.card();
  Json levels = Json::array();
  for (const auto& [effort, words] : {std::pair("low", "up to 1,024 tokens of thought"),
                                      std::pair("medium", "up to 4,096"), std::pair("high", "up to 16,384")})
    levels.push_back({{"effort", effort}, {"description", words}});
  Json inputs = {"text"};
  if (card.sees) inputs.push_back("image");
  return {{"slug", name},
          {"display_name", name},
          {"context_window", card.context},
          {"shell_type", "default"},
          {"visibility", "list"},
          {"supported_in_api", true},
          {"priority", 0},
          {"truncation_policy", {{"mode", "tokens"}, {"limit", 10000}}},
          {"input_modalities", std::move(inputs)},
          {"base_instructions", kCodingInstructions},
          {"support_verbosity", false},
          {"default_verbosity", nullptr},
          {"supports_parallel_tool_calls", true},
          {"supports_reasoning_summaries", true},
          {"supported_reasoning_levels", std::move(levels)},
          {"default_reasoning_level", "medium"},
          {"apply_patch_tool_type", "freeform"},
          {"upgrade", nullptr},
          {"experimental_supported_tools", Json::array()}};
}

}  // namespace

void handle_models(Service& service, const Call& call) {
  const std::vector<std::string> all = names(service);
  Json data = Json::array();
  if (call.header("anthropic-version")) {
    for (const std::string& name : all) data.push_back(anthropic_model(service, name));
    return call.respond_json(
        {{"data", std::move(data)}, {"has_more", false}, {"first_id", all.front()}, {"last_id", all.back()}});
  }
  for (const std::string& name : all) data.push_back(openai_model(service, name));
  Json json = {{"object", "list"}, {"data", std::move(data)}};
  if (call.query.contains("client_version")) {
    json["models"] = Json::array();
    for (const std::string& name : all) json["models"].push_back(codex_model(service, name));
    HttpResponse response;
    response.headers = {{"Content-Type", "application/json"},
                        {"ETag", fmt::format("\"{}\"", service.card().fingerprint)}};
    response.body = dump_wire_json(json);
    return call.respond(std::move(response));
  }
  call.respond_json(json);
}

void handle_model(Service& service, const Call& call) {
  const std::string& name = call.parameters.at(0);
  const bool is_anthropic = call.header("anthropic-version") != nullptr;
  if (auto error = service.check_model(is_anthropic ? Surface::kAnthropic : Surface::kOpenAi, name))
    return call.fail(*error);
  call.respond_json(is_anthropic ? anthropic_model(service, name) : openai_model(service, name));
}

}  // namespace lapidary::server
