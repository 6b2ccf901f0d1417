#include "chat/tool_schema.h"

#include <fmt/format.h>

#include <string>

namespace lapidary {
namespace {

class ToolChecker {
 public:
  explicit ToolChecker(std::string_view source) : source_(source) {}

  Result<void> function(const Json& function, const std::string& at) const {
    if (!function.is_object()) return wrong(at, "a function object", function);
    const Json* name = find(function, "name");
    if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().empty()) {
      return wrong(at + "/name", "a name", name == nullptr ? Json() : *name);
    }
    // The name ends at the first brace when a call is read back.
    if (name->get_ref<const std::string&>().find_first_of("{}\n") != std::string::npos) {
      return wrong(at + "/name", "a name without braces or line feeds", *name);
    }
    RETURN_IF_ERROR(string(function, at, "description"));
    if (const Json* parameters = find(function, "parameters")) RETURN_IF_ERROR(schema(*parameters, at + "/parameters"));
    if (const Json* response = find(function, "response"); response != nullptr && !response->is_object()) {
      return wrong(at + "/response", "an object", *response);
    }
    return {};
  }

  Error wrong(const std::string& at, std::string_view expected, const Json& found) const {
    return {ErrorCode::kInvalidArgument,
            fmt::format("{}: {}: {}", source_, at.empty() ? "/" : at, expected_found(expected, found))};
  }

 private:
  static const Json* find(const Json& object, const char* key) {
    const auto it = object.find(key);
    return it == object.end() || it->is_null() ? nullptr : &*it;
  }

  Result<void> string(const Json& object, const std::string& at, const char* key) const {
    const Json* value = find(object, key);
    if (value == nullptr || value->is_string()) return {};
    return wrong(fmt::format("{}/{}", at, key), "a string", *value);
  }

  // What the prompt prints of a schema; other keywords are left alone. Depth is bounded by the JSON parser's limit.
  Result<void> schema(const Json& schema, const std::string& at) const {
    if (!schema.is_object()) return wrong(at, "a schema object", schema);
    RETURN_IF_ERROR(string(schema, at, "description"));
    if (const Json* type = find(schema, "type")) {
      bool good = type->is_string();
      if (type->is_array()) {
        good = true;
        for (const Json& one : *type) good = good && one.is_string();
      }
      if (!good) return wrong(at + "/type", "a type's name or a list of names", *type);
    }
    if (const Json* required = find(schema, "required")) {
      bool good = required->is_array();
      if (good) {
        for (const Json& one : *required) good = good && one.is_string();
      }
      // Older schemas mark a property itself with required: true; it is not printed.
      if (!good && !required->is_boolean()) return wrong(at + "/required", "a list of property names", *required);
    }
    if (const Json* choices = find(schema, "enum"); choices != nullptr && !choices->is_array()) {
      return wrong(at + "/enum", "a list", *choices);
    }
    if (const Json* properties = find(schema, "properties")) {
      if (!properties->is_object()) return wrong(at + "/properties", "an object", *properties);
      for (const auto& [key, value] : properties->items()) {
        if (value.is_boolean()) continue;  // true and false are schemas too
        RETURN_IF_ERROR(this->schema(value, json_pointer(at + "/properties", key)));
      }
    }
    if (const Json* items = find(schema, "items"); items != nullptr && items->is_object()) {
      RETURN_IF_ERROR(this->schema(*items, at + "/items"));
    }
    return {};
  }

  std::string_view source_;
};

}  // namespace

Result<Json> check_tools(const Json& tools, std::string_view source) {
  const ToolChecker checker(source);
  if (tools.is_null()) return Json::array();
  if (!tools.is_array()) return checker.wrong("", "a list of tools", tools);
  Json checked = Json::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    const Json& tool = tools[i];
    const std::string at = fmt::format("/{}", i);
    if (!tool.is_object()) return checker.wrong(at, "an object", tool);
    const bool wrapped = tool.contains("function");
    if (const auto type = tool.find("type"); wrapped && type != tool.end() && *type != "function") {
      return checker.wrong(at + "/type", "\"function\"", *type);
    }
    const Json& function = wrapped ? tool["function"] : tool;
    RETURN_IF_ERROR(checker.function(function, wrapped ? at + "/function" : at));
    Json entry = Json::object();
    entry["type"] = "function";
    entry["function"] = function;
    checked.push_back(std::move(entry));
  }
  return checked;
}

}  // namespace lapidary
