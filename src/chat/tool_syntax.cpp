#include "chat/tool_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "chat/lower_case.h"

namespace lapidary {
namespace {

constexpr std::string_view kQuote = "<|\"|>";

// Python's repr of a float: the shortest digits that read back, positional when -4 <= decimal exponent < 16.
std::string float_text(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  if (e == std::string_view::npos) return std::string(text);  // inf, nan: not in JSON
  int exponent = 0;
  const size_t sign = text[e + 1] == '+' ? e + 2 : e + 1;
  std::from_chars(text.data() + sign, text.data() + text.size(), exponent);
  std::string_view mantissa = text.substr(0, e);
  const bool negative = mantissa.front() == '-';
  if (negative) mantissa.remove_prefix(1);
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}{}e{}{:02d}", negative ? "-" : "", mantissa, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  std::string digits;
  for (const char c : mantissa) {
    if (c != '.') digits += c;
  }
  std::string out = negative ? "-" : "";
  if (exponent < 0) {
    out += "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  } else {
    const size_t whole = static_cast<size_t>(exponent) + 1;
    if (digits.size() < whole + 1) digits.resize(std::max(digits.size(), whole), '0');
    out += digits.substr(0, whole) + '.' + (digits.size() > whole ? digits.substr(whole) : "0");
  }
  return out;
}

bool truthy(const Json* value) {
  if (value == nullptr || value->is_null()) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_number()) return value->get<double>() != 0;
  if (value->is_string()) return !value->get_ref<const std::string&>().empty();
  return value->is_binary() || !value->empty();
}

std::string python_repr(const Json& value) {
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
    std::string out(1, quote);
    for (const char c : text) {
      if (c == quote || c == '\\') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    return out + quote;
  }
  if (value.is_structured()) {
    std::string out(1, value.is_array() ? '[' : '{');
    for (const auto& [key, item] : value.items()) {
      if (out.size() > 1) out += ", ";
      if (value.is_object()) out += python_repr(Json(key)) + ": ";
      out += python_repr(item);
    }
    return out + (value.is_array() ? ']' : '}');
  }
  return number_text(value);
}

// What Python's str() makes of a value; the template applies it to whatever stands where text is expected.
std::string python_text(const Json* value) {
  if (value == nullptr) return {};
  return value->is_string() ? value->get<std::string>() : python_repr(*value);
}

// Key order of Jinja's dictsort: without regard to case, by code point, stable.
std::vector<std::pair<const std::string*, const Json*>> sorted_entries(const Json& object) {
  struct Entry {
    std::string lower;
    const std::string* key;
    const Json* value;
  };
  std::vector<Entry> entries;
  for (auto it = object.begin(); it != object.end(); ++it) entries.push_back({lower_case(it.key()), &it.key(), &*it});
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.lower < b.lower; });
  std::vector<std::pair<const std::string*, const Json*>> out;
  out.reserve(entries.size());
  for (const Entry& entry : entries) out.emplace_back(entry.key, entry.value);
  return out;
}

class ToolWriter {
 public:
  ToolWriter(PromptItems& out, bool repair) : out_(out), repair_(repair) {}

  void quoted(std::string_view text) {
    out_.special(kQuote);
    out_.text(text);
    out_.special(kQuote);
  }

  void value(const Json& v, bool quote_keys) {
    if (v.is_null()) {
      out_.text("null");
    } else if (v.is_boolean()) {
      out_.text(v.get<bool>() ? "true" : "false");
    } else if (v.is_string()) {
      quoted(v.get_ref<const std::string&>());
    } else if (v.is_object()) {
      out_.text("{");
      pairs(v, quote_keys);
      out_.text("}");
    } else if (v.is_array()) {
      out_.text("[");
      for (size_t i = 0; i < v.size(); ++i) {
        if (i > 0) out_.text(",");
        value(v[i], quote_keys);
      }
      out_.text("]");
    } else {
      out_.text(number_text(v));
    }
  }

  void pairs(const Json& object, bool quote_keys) {
    bool first = true;
    for (const auto& [key, item] : sorted_entries(object)) {
      if (!first) out_.text(",");
      first = false;
      quote_keys ? quoted(*key) : out_.text(*key);
      out_.text(":");
      value(*item, quote_keys);
    }
  }

  void declaration(const Json& function) {
    out_.text("declaration:" + python_text(find(function, "name")) + "{description:");
    quoted(python_text(find(function, "description")));
    if (const Json* parameters = find(function, "parameters"); parameters != nullptr && parameters->is_object()) {
      if (!parameters->empty()) write_parameters(*parameters);
    }
    if (const Json* response = find(function, "response")) write_response(*response);
    out_.text("}");
  }

 private:
  // nullptr when absent, or null and null counts as absent.
  const Json* find(const Json& object, const char* key) const {
    if (!object.is_object()) return nullptr;
    const auto it = object.find(key);
    return it == object.end() || (repair_ && it->is_null()) ? nullptr : &*it;
  }
  static bool is_object(const Json* value) { return value != nullptr && value->is_object(); }
  static bool is_array(const Json* value) { return value != nullptr && value->is_array() && !value->empty(); }

  void quoted_list(const Json& names) {
    out_.text("[");
    for (size_t i = 0; i < names.size(); ++i) {
      if (i > 0) out_.text(",");
      quoted(python_text(&names[i]));
    }
    out_.text("]");
  }

  // A list of types prints as Python prints the list.
  std::string type_of(const Json& schema) const { return upper_case_ascii(python_text(find(schema, "type"))); }

  // The published template writes the closing brace only together with the type, so a schema without one leaves the
  // declaration unbalanced. Parameters are always an object, so repair says so.
  void write_parameters(const Json& parameters) {
    out_.text(",parameters:{");
    if (const Json* fields = find(parameters, "properties"); is_object(fields) && !fields->empty()) {
      out_.text("properties:{");
      properties(*fields, false);
      out_.text("},");
    }
    if (const Json* required = find(parameters, "required"); is_array(required)) {
      out_.text("required:");
      quoted_list(*required);
      out_.text(",");
    }
    const bool typed = truthy(find(parameters, "type"));
    if (!typed && !repair_) return;
    out_.text("type:");
    quoted(typed ? type_of(parameters) : "OBJECT");
    out_.text("}");
  }

  void write_response(const Json& response) {
    out_.text(",response:{");
    const bool typed = type_of(response) == "OBJECT";
    if (const Json* description = find(response, "description"); truthy(description)) {
      out_.text("description:");
      quoted(python_text(description));
      if (typed || !repair_) out_.text(",");
    }
    if (typed) {
      out_.text("type:");
      quoted("OBJECT");
    }
    if (typed || repair_) out_.text("}");
  }

  // Fields of an object; of_schema: the keys of a schema that has no properties, without its own keywords.
  void properties(const Json& fields, bool of_schema) {
    bool first = true;
    for (const auto& [key, schema] : sorted_entries(fields)) {
      if (of_schema && (*key == "description" || *key == "type" || *key == "properties" || *key == "required" ||
                        *key == "nullable")) {
        continue;
      }
      if (!first) out_.text(",");
      first = false;
      out_.text(*key + ":{");
      property(*schema);
      out_.text("}");
    }
  }

  void property(const Json& schema) {
    const std::string type = type_of(schema);
    if (const Json* description = find(schema, "description"); truthy(description)) {
      out_.text("description:");
      quoted(python_text(description));
      out_.text(",");
    }
    const Json* choices = find(schema, "enum");
    const Json* items = find(schema, "items");
    if (type == "STRING" && truthy(choices)) {
      out_.text("enum:");
      value(*choices, true);
      out_.text(",");
    } else if (type == "ARRAY" && is_object(items) && !items->empty()) {
      out_.text("items:{");
      array_items(*items);
      out_.text("},");
    }
    if (truthy(find(schema, "nullable"))) out_.text("nullable:true,");
    if (type == "OBJECT") {
      const Json* fields = find(schema, "properties");
      const bool has_fields = is_object(fields);
      out_.text("properties:{");
      properties(has_fields ? *fields : schema, !has_fields);
      out_.text("},");
      if (const Json* required = find(schema, "required"); is_array(required)) {
        out_.text("required:");
        quoted_list(*required);
        out_.text(",");
      }
    }
    out_.text("type:");
    quoted(type);
  }

  // Every key of `items` is kept, unlike the keys of a property.
  void array_items(const Json& items) {
    bool first = true;
    for (const auto& [key, item] : sorted_entries(items)) {
      if (item->is_null()) continue;
      if (!first) out_.text(",");
      first = false;
      out_.text(*key + ":");
      if (*key == "properties" && item->is_object()) {
        out_.text("{");
        properties(*item, false);
        out_.text("}");
      } else if (*key == "required" && item->is_array()) {
        quoted_list(*item);
      } else if (*key == "type" && item->is_string()) {
        quoted(upper_case_ascii(item->get_ref<const std::string&>()));
      } else if (*key == "type" && item->is_array()) {
        Json upper = Json::array();
        for (const Json& type : *item) upper.push_back(upper_case_ascii(python_text(&type)));
        value(upper, true);
      } else {
        value(*item, true);
      }
    }
  }

  PromptItems& out_;
  bool repair_;
};

}  // namespace

std::string number_text(const Json& number) {
  if (number.is_binary()) return std::string(exact_integer(number));
  return number.is_number_float() ? float_text(number.get<double>()) : dump_json(number);
}

void write_tool_call(const ToolCall& call, PromptItems& out) {
  out.special("<|tool_call>");
  out.text("call:" + call.name + "{");
  if (call.arguments.is_object()) ToolWriter(out, true).pairs(call.arguments, false);
  out.text("}");
  out.special("<tool_call|>");
}

void write_tool_response(std::string_view name, const Json& response, PromptItems& out) {
  ToolWriter writer(out, true);
  out.special("<|tool_response>");
  out.text("response:");
  out.text(name.empty() ? "unknown" : name);
  out.text("{");
  if (response.is_object()) {
    writer.pairs(response, false);
  } else {
    out.text("value:");
    writer.value(response, false);
  }
  out.text("}");
  out.special("<tool_response|>");
}

void write_tool_declaration(const Json& tool, bool repair, PromptItems& out) {
  const bool wrapped = tool.is_object() && tool.contains("function");
  out.special("<|tool>");
  ToolWriter(out, repair).declaration(wrapped ? tool["function"] : tool);
  out.special("<tool|>");
}

}  // namespace lapidary
