#include "server/anthropic_tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

Json property(const char* type, const char* description) { return {{"type", type}, {"description", description}}; }

Json bash_parameters() {
  return {{"type", "object"},
          {"properties",
           {{"command", property("string", "The command to run; not needed to restart")},
            {"restart", property("boolean", "Start the shell anew")}}}};
}

Json editor_parameters() {
  Json command = property("string", "What to do");
  command["enum"] = {"view", "create", "str_replace", "insert"};
  Json range = property("array", "First and last line to view");
  range["items"] = {{"type", "integer"}};
  return {{"type", "object"},
          {"properties",
           {{"command", std::move(command)},
            {"path", property("string", "Absolute path of a file or directory")},
            {"file_text", property("string", "Content of the file to create")},
            {"old_str", property("string", "Text to replace; it occurs once")},
            {"new_str", property("string", "Text to put in its place, or to insert")},
            {"insert_line", property("integer", "Line after which to insert; 0: at the beginning")},
            {"insert_text", property("string", "Text to insert")},
            {"view_range", std::move(range)}}},
          {"required", {"command", "path"}}};
}

void add_tool(const RequestReader& tool, ChatRequest& request) {
  const std::string type = tool.string("type").value_or("custom");
  if (type == "custom" || type == "function") {
    Json parameters;
    const Json* schema = tool.object("input_schema");
    if (schema) {
      parameters = *schema;
      if (!parameters.contains("type") || parameters["type"].is_null()) parameters["type"] = "object";
    }
    add_function(tool, "name", tool.required_string("name"), tool.string("description").value_or(""),
                 schema ? &parameters : nullptr, tool.boolean("strict").value_or(false), request);
  } else if (type.starts_with("bash_")) {
    const Json parameters = bash_parameters();
    add_function(tool, "name", tool.string("name").value_or("bash"), "Runs commands in a shell that stays open.",
                 &parameters, false, request);
  } else if (type.starts_with("text_editor_")) {
    const Json parameters = editor_parameters();
    add_function(tool, "name", tool.string("name").value_or("str_replace_based_edit_tool"),
                 "Views, creates and edits files.", &parameters, false, request);
  } else {
    spdlog::warn("{}: a tool of type \"{}\" is skipped, this server does not run it", tool.path(), type.substr(0, 80));
  }
}

bool is_declared(const ChatRequest& request, const std::string& name) {
  const Json& tools = request.conversation.tools;
  return std::any_of(tools.begin(), tools.end(), [&](const Json& tool) { return tool["function"]["name"] == name; });
}

}  // namespace

void read_anthropic_tools(const Service& service, const RequestReader& reader, ChatRequest& request) {
  const Json* tools = reader.array("tools");
  for (size_t i = 0; tools && i < tools->size() && !reader.failed(); ++i) add_tool(reader.element("tools", i), request);
  check_declared_tools(service, reader, request);
  if (!reader.has("tool_choice")) return;
  const RequestReader choice = reader.inside("tool_choice");
  if (reader.failed() || !choice.required("type")) return;
  const auto type = choice.one_of("type", {"auto", "any", "tool", "none"});
  request.tool_choice.parallel = !choice.boolean("disable_parallel_tool_use").value_or(false);
  if (reader.failed()) return;
  if (type == "none") {
    request.tool_choice.use = ToolUse::kNone;
  } else if (type == "any") {
    if (request.conversation.tools.empty())
      return choice.fail_value("type", "\"any\" needs tools, and none are declared");
    request.tool_choice.use = ToolUse::kRequired;
  } else if (type == "tool") {
    const std::string name = choice.required_string("name");
    if (reader.failed()) return;
    if (!is_declared(request, name))
      return choice.fail_value("name", fmt::format("\"{}\" is not among the declared tools", name));
    request.tool_choice.use = ToolUse::kRequired;
    request.tool_choice.names = {name};
  }
}

}  // namespace lapidary::server
