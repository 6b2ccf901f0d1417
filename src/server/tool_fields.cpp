#include "server/tool_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "chat/tool_schema.h"

namespace lapidary::server {
namespace {

constexpr size_t kNameCharactersMax = 128;

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameCharactersMax && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '.' ||
           c == ':' || c == '/' || c == '-';
  });
}

bool is_declared(const ChatRequest& request, std::string_view name) {
  const Json& tools = request.conversation.tools;
  return std::any_of(tools.begin(), tools.end(), [&](const Json& tool) { return tool["function"]["name"] == name; });
}

// Only that tool, or those.
void force(const RequestReader& reader, std::string_view key, const std::vector<std::string>& names, ToolUse use,
           ChatRequest& request) {
  for (const std::string& name : names) {
    if (!is_declared(request, name))
      return reader.fail_value(key, fmt::format("\"{}\" is not among the declared tools", name));
  }
  request.tool_choice.use = use;
  request.tool_choice.names = names;
}

}  // namespace

void add_function(const RequestReader& reader, std::string_view key, const std::string& name,
                  const std::string& description, const Json* parameters, bool strict, ChatRequest& request) {
  if (reader.failed()) return;
  if (!is_tool_name(name)) {
    return reader.fail_value(key, fmt::format("expected 1 to {} of the characters A-Z a-z 0-9 _ . : / -, found \"{}\"",
                                              kNameCharactersMax, name));
  }
  if (is_declared(request, name)) return reader.fail_value(key, fmt::format("the tool \"{}\" is declared twice", name));
  Json function = {{"name", name}, {"description", description}};
  if (parameters) function["parameters"] = *parameters;
  if (strict) function["strict"] = true;
  request.conversation.tools.push_back({{"type", "function"}, {"function", std::move(function)}});
}

void add_custom_tool(const RequestReader& reader, std::string_view key, const std::string& name, ChatRequest& request) {
  std::string description = reader.string("description").value_or("");
  Json input = {{"type", "string"}, {"description", "free text"}};
  const RequestReader format = reader.inside("format");
  if (format.string("type").value_or("text") == "grammar") {
    // Responses has the grammar's members beside the type.
    const RequestReader grammar = format.has("grammar") ? format.inside("grammar") : format;
    const std::string syntax = grammar.string("syntax").value_or("lark");
    const std::string definition = grammar.string("definition").value_or("");
    description += fmt::format("\n\nThe input follows this grammar ({}):\n{}", syntax, definition);
    if (syntax == "regex") input["pattern"] = fmt::format("^(?:{})$", definition);
  }
  const Json parameters = {{"type", "object"}, {"properties", {{"input", std::move(input)}}}, {"required", {"input"}}};
  add_function(reader, key, name, description, &parameters, false, request);
  request.custom_tools.insert(name);
}

Json call_arguments(const Service& service, const RequestReader& call, std::string_view key) {
  ApiResult<Json> arguments = history_arguments(call.find(key), service.options().strict_tool_history, call.place(key));
  if (arguments) return std::move(*arguments);
  call.fail(arguments.error());
  return Json::object();
}

ToolCall called_function(const Service& service, const RequestReader& function, std::optional<std::string> id) {
  ToolCall call{std::move(id), function.required_string("name")};
  call.arguments = call_arguments(service, function, "arguments");
  return call;
}

std::string custom_input(const ToolCall& call) {
  const auto it = call.arguments.find("input");
  if (it == call.arguments.end()) return "";
  return it->is_string() ? it->get<std::string>() : dump_wire_json(*it);
}

void check_declared_tools(const Service& service, const RequestReader& reader, ChatRequest& request) {
  if (reader.failed()) return;
  Json& tools = request.conversation.tools;
  if (tools.size() > static_cast<size_t>(service.options().tools_max)) {
    return reader.fail_value(
        "tools", fmt::format("expected at most {} tools, found {}", service.options().tools_max, tools.size()));
  }
  Result<Json> checked = check_tools(tools, reader.place("tools"));
  if (!checked)
    return reader.fail(bad_request("invalid_function_parameters", reader.place("tools"), checked.error().message));
  tools = std::move(*checked);
}

void read_tools(const Service& service, const RequestReader& reader, ChatRequest& request) {
  if (const Json* tools = reader.array("tools")) {
    for (size_t i = 0; i < tools->size() && !reader.failed(); ++i) {
      const RequestReader tool = reader.element("tools", i);
      const std::string type = tool.string("type").value_or("function");
      if (type == "function") {
        if (!tool.required("function")) break;
        const RequestReader function = tool.inside("function");
        add_function(function, "name", function.required_string("name"), function.string("description").value_or(""),
                     function.object("parameters"), function.boolean("strict").value_or(false), request);
      } else if (type == "custom") {
        if (!tool.required("custom")) break;
        const RequestReader custom = tool.inside("custom");
        add_custom_tool(custom, "name", custom.required_string("name"), request);
      } else {
        tool.fail_value("type", fmt::format("expected function or custom, found \"{}\"", type));
      }
    }
  } else if (const Json* functions = reader.array("functions")) {
    request.legacy_functions = true;
    for (size_t i = 0; i < functions->size() && !reader.failed(); ++i) {
      const RequestReader function = reader.element("functions", i);
      add_function(function, "name", function.required_string("name"), function.string("description").value_or(""),
                   function.object("parameters"), false, request);
    }
  }
  check_declared_tools(service, reader, request);
  request.tool_choice.parallel = reader.boolean("parallel_tool_calls").value_or(true) && !request.legacy_functions;
  read_tool_choice(reader, request);
}

void read_tool_choice(const RequestReader& reader, ChatRequest& request) {
  if (reader.failed()) return;
  const bool none_declared = request.conversation.tools.empty();
  const char* key = reader.has("tool_choice") ? "tool_choice" : "function_call";
  const Json* choice = reader.find(key);
  if (!choice) return;
  if (choice->is_string()) {
    const std::string word = choice->get<std::string>();
    if (word == "none" || word == "auto") {
      request.tool_choice.use = word == "none" ? ToolUse::kNone : ToolUse::kAllowed;
    } else if (word == "required" || word == "any") {
      if (none_declared) return reader.fail_value(key, fmt::format("\"{}\" needs tools, and none are declared", word));
      request.tool_choice.use = ToolUse::kRequired;
    } else {
      reader.fail_value(key, fmt::format("expected none, auto, required or an object, found \"{}\"", word));
    }
    return;
  }
  const RequestReader object = reader.inside(key);
  if (reader.failed()) return;
  if (none_declared) return reader.fail_value(key, "a tool is named, and none are declared");
  const std::string type = object.string("type").value_or("function");
  if (type == "function" || type == "custom") {
    // {"function": {"name"}}, {"custom": {"name"}}, {"name"}
    const RequestReader holder = object.has(type) ? object.inside(type) : object;
    const std::string name = holder.required_string("name");
    if (!reader.failed()) force(reader, key, {name}, ToolUse::kRequired, request);
  } else if (type == "allowed_tools") {
    const RequestReader holder = object.has("allowed_tools") ? object.inside("allowed_tools") : object;
    const std::string mode = holder.one_of("mode", {"auto", "required"}).value_or("auto");
    std::vector<std::string> names;
    const Json* tools = holder.array("tools");
    for (size_t i = 0; tools && i < tools->size(); ++i) {
      const RequestReader tool = holder.element("tools", i);
      names.push_back(tool.has("function") ? tool.inside("function").required_string("name")
                                           : tool.required_string("name"));
    }
    if (!reader.failed())
      force(reader, key, names, mode == "required" ? ToolUse::kRequired : ToolUse::kAllowed, request);
  } else {
    object.fail_value("type", fmt::format("expected function, custom or allowed_tools, found \"{}\"", type));
  }
}

}  // namespace lapidary::server
