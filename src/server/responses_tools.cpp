#include "server/responses_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/log.h"
#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

constexpr ClientTool kClientTools[] = {
    {ResponsesToolKind::kLocalShell, "local_shell", "local_shell_call", "local_shell_call_output", "action", "lsh_",
     "Runs a command on the user's machine and returns what it prints.",
     R"({"type": "object", "properties": {
       "command": {"type": "array", "items": {"type": "string"}, "description": "the program and its arguments"},
       "working_directory": {"type": "string"},
       "timeout_ms": {"type": "integer"}}, "required": ["command"]})"},
    {ResponsesToolKind::kShell, "shell", "shell_call", "shell_call_output", "action", "sh_",
     "Runs shell commands on the user's machine, one after the other, and returns what they print.",
     R"({"type": "object", "properties": {
       "commands": {"type": "array", "items": {"type": "string"}, "description": "shell commands"},
       "timeout_ms": {"type": "integer"},
       "max_output_length": {"type": "integer", "description": "characters to return"}}, "required": ["commands"]})"},
    {ResponsesToolKind::kApplyPatch, "apply_patch", "apply_patch_call", "apply_patch_call_output", "operation", "apc_",
     "Creates, changes or deletes a file.",
     R"({"type": "object", "properties": {
       "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
       "path": {"type": "string"},
       "diff": {"type": "string", "description": "changes as a V4A diff; not for delete_file"}},
       "required": ["type", "path"]})"},
};

template <class Fits>
const ClientTool* find_client_tool(Fits fits) {
  const auto it = std::find_if(std::begin(kClientTools), std::end(kClientTools), fits);
  return it == std::end(kClientTools) ? nullptr : it;
}

constexpr size_t kNameCharactersMax = 128;

// Only characters that a name may have: this one is ours, the client gets its own back.
std::string joined_name(std::string_view name_space, std::string_view name, std::string_view between) {
  if (name_space.ends_with(between)) between = "";
  std::string joined = fmt::format("{}{}{}", name_space, between, name);
  for (char& c : joined) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
                       c == ':' || c == '/' || c == '-';
    if (!plain) c = '_';
  }
  if (joined.size() > kNameCharactersMax) joined.erase(0, joined.size() - kNameCharactersMax);
  return joined;
}

std::string unused_name(const ResponsesTools& tools, std::string_view name_space, std::string_view name) {
  for (const std::string_view between : {"__", ".", "/"}) {
    std::string joined = joined_name(name_space, name, between);
    if (!tools.contains(joined)) return joined;
  }
  for (int i = 2;; ++i) {
    std::string joined = joined_name(name_space, fmt::format("{}_{}", name, i), "__");
    if (!tools.contains(joined)) return joined;
  }
}

// A function or a custom tool, alone or in a namespace.
void add_tool(const RequestReader& tool, const std::string& name_space, ChatRequest& request, ResponsesTools& tools) {
  const bool custom = tool.string("type") == "custom";
  // Clients that were written for chat completions nest the function.
  const bool nested = !custom && !tool.has("name") && tool.has("function");
  const RequestReader inner = nested ? tool.inside("function") : tool;
  const std::string name = inner.required_string("name");
  if (inner.failed()) return;
  const std::string declared = name_space.empty() ? name : unused_name(tools, name_space, name);
  if (custom) {
    add_custom_tool(inner, "name", declared, request);
  } else {
    add_function(inner, "name", declared, inner.string("description").value_or(""), inner.object("parameters"),
                 inner.boolean("strict").value_or(false), request);
  }
  tools[declared] = {custom ? ResponsesToolKind::kCustom : ResponsesToolKind::kFunction, name, name_space};
}

void add_namespace(const RequestReader& space, ChatRequest& request, ResponsesTools& tools) {
  const std::string name = space.required_string("name");
  const Json* members = space.array("tools");
  for (size_t i = 0; members && i < members->size() && !space.failed(); ++i) {
    const RequestReader member = space.element("tools", i);
    const std::string type = member.string("type").value_or("function");
    if (type == "function" || type == "custom") add_tool(member, name, request, tools);
  }
}

void add_client_tool(const RequestReader& tool, const ClientTool& row, ChatRequest& request, ResponsesTools& tools) {
  // A container is somewhere else; only the client's own machine is within its reach.
  const std::string place = tool.inside("environment").string("type").value_or("local");
  const std::string name(row.name);
  if (place != "local" || tools.contains(name)) return;
  const Json parameters = parse_json(row.parameters, row.name).value();
  add_function(tool, "type", name, std::string(row.description), &parameters, false, request);
  tools[name] = {row.kind, name, ""};
}

void read_tool(const RequestReader& tool, ChatRequest& request, ResponsesTools& tools) {
  const std::string type = tool.string("type").value_or("function");
  if (type == "function" || type == "custom") {
    add_tool(tool, "", request, tools);
  } else if (type == "namespace") {
    add_namespace(tool, request, tools);
  } else if (const ClientTool* row = client_tool_of_type(type)) {
    add_client_tool(tool, *row, request, tools);
  } else {
    spdlog::debug("{}: a tool of type {} is left out", tool.path(), type);
  }
}

// One entry of tool_choice in the model's names; empty: a tool that was left out.
std::string chosen_name(const RequestReader& choice, const ResponsesTools& tools) {
  const std::string type = choice.string("type").value_or("function");
  if (const ClientTool* row = client_tool_of_type(type))
    return tools.contains(std::string(row->name)) ? std::string(row->name) : "";
  if (type != "function" && type != "custom") return "";
  const RequestReader holder = choice.has(type) ? choice.inside(type) : choice;
  return declared_name(tools, holder.required_string("name"), holder.string("namespace").value_or(""));
}

// The client's names become the model's; what it may mean is then decided as for chat completions.
void read_choice(const RequestReader& reader, ChatRequest& request, const ResponsesTools& tools) {
  const Json* choice = reader.find("tool_choice");
  if (!choice || choice->is_string()) return read_tool_choice(reader, request);
  const RequestReader object = reader.inside("tool_choice");
  Json translated;
  if (object.string("type") == "allowed_tools") {
    const RequestReader holder = object.has("allowed_tools") ? object.inside("allowed_tools") : object;
    Json names = Json::array();
    const Json* allowed = holder.array("tools");
    for (size_t i = 0; allowed && i < allowed->size(); ++i) {
      const std::string name = chosen_name(holder.element("tools", i), tools);
      if (!name.empty()) names.push_back({{"type", "function"}, {"name", name}});
    }
    const std::string mode = holder.one_of("mode", {"auto", "required"}).value_or("auto");
    if (names.empty() && mode == "auto") {
      request.tool_choice.use = ToolUse::kNone;
      return;
    }
    if (names.empty()) return reader.fail_value("tool_choice", "none of the allowed tools can be called here");
    translated = {{"type", "allowed_tools"}, {"mode", mode}, {"tools", std::move(names)}};
  } else {
    const std::string name = chosen_name(object, tools);
    if (object.failed()) return;
    if (name.empty()) {
      return object.fail_value("type", fmt::format("expected a declared tool that can be called here, found \"{}\"",
                                                   object.string("type").value_or("")));
    }
    translated = {{"type", "function"}, {"name", name}};
  }
  if (reader.failed()) return;
  const Json holder = {{"tool_choice", std::move(translated)}};
  std::optional<ApiError> error;
  read_tool_choice(RequestReader(holder, reader.path(), error), request);
  if (error) reader.fail(std::move(*error));
}

}  // namespace

const ClientTool* client_tool(ResponsesToolKind kind) {
  return find_client_tool([&](const ClientTool& row) { return row.kind == kind; });
}
const ClientTool* client_tool_of_type(std::string_view type) {
  return find_client_tool([&](const ClientTool& row) { return row.name == type; });
}
const ClientTool* client_tool_of_call(std::string_view item_type) {
  return find_client_tool([&](const ClientTool& row) { return row.call_type == item_type; });
}
const ClientTool* client_tool_of_output(std::string_view item_type) {
  return find_client_tool([&](const ClientTool& row) { return row.output_type == item_type; });
}

void read_responses_tools(const Service& service, const RequestReader& reader, ChatRequest& request,
                          ResponsesTools& tools) {
  const Json* list = reader.array("tools");
  for (size_t i = 0; list && i < list->size() && !reader.failed(); ++i)
    read_tool(reader.element("tools", i), request, tools);
  check_declared_tools(service, reader, request);
  request.tool_choice.parallel = reader.boolean("parallel_tool_calls").value_or(true);
  read_choice(reader, request, tools);
}

std::string declared_name(const ResponsesTools& tools, std::string_view name, std::string_view name_space) {
  for (const auto& [declared, tool] : tools) {
    if (tool.name == name && tool.name_space == name_space) return declared;
  }
  if (!name_space.empty()) return joined_name(name_space, name, "__");
  // A member that is named alone, when there is only one of that name.
  const std::string* only = nullptr;
  for (const auto& [declared, tool] : tools) {
    if (tool.name != name) continue;
    if (only) return std::string(name);
    only = &declared;
  }
  return only ? *only : std::string(name);
}

}  // namespace lapidary::server
