#include "server/ollama_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/base64.h"
#include "base/log.h"
#include "media/sniff.h"
#include "server/openai_messages.h"
#include "server/sampling_fields.h"
#include "server/tool_fields.h"

namespace lapidary::server {
namespace {

constexpr const char* kSamplingOptions[] = {
    "temperature",      "top_k", "top_p", "min_p", "seed", "repeat_penalty", "repeat_last_n", "presence_penalty",
    "frequency_penalty"};
constexpr const char* kRunnerIntegers[] = {"num_keep", "num_ctx",    "num_batch",        "num_gpu",
                                           "main_gpu", "num_thread", "draft_num_predict"};
constexpr const char* kRunnerFlags[] = {"use_mmap", "use_mlock", "numa", "low_vram", "penalize_newline"};

// The number that a text is, or the value itself.
Json as_number(const Json& value) {
  if (!value.is_string()) return value;
  const std::string text = value.get<std::string>();
  const char* end = text.data() + text.size();
  int64_t integer = 0;
  if (const auto [rest, code] = std::from_chars(text.data(), end, integer); code == std::errc() && rest == end)
    return integer;
  double number = 0;
  if (const auto [rest, code] = std::from_chars(text.data(), end, number);
      code == std::errc() && rest == end && std::isfinite(number))
    return number;
  return value;
}

Role role_of(const RequestReader& message) {
  std::string role = message.required_string("role");
  std::transform(role.begin(), role.end(), role.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (role == "system" || role == "developer") return Role::kSystem;
  if (role == "user") return Role::kUser;
  if (role == "assistant") return Role::kAssistant;
  if (role == "tool") return Role::kTool;
  if (!message.failed())
    message.fail_value("role", fmt::format("expected system, user, assistant or tool, found \"{}\"", role));
  return Role::kUser;
}

void read_calls(const Service& service, const RequestReader& message, size_t place, Message& out) {
  const Json* calls = message.array("tool_calls");
  for (size_t i = 0; calls && i < calls->size() && !message.failed(); ++i) {
    const RequestReader call = message.element("tool_calls", i);
    if (!call.required("function")) return;
    std::string id = call.string("id").value_or("");
    if (id.empty()) id = fmt::format("{}.{}", place, i);
    out.tool_calls.push_back(called_function(service, call.inside("function"), std::move(id)));
  }
}

// The call that a result without an id answers.
std::optional<std::string> answered_call(const std::vector<Message>& messages, const std::string& tool) {
  const auto caller = std::find_if(messages.rbegin(), messages.rend(),
                                   [](const Message& message) { return !message.tool_calls.empty(); });
  if (caller == messages.rend()) return {};
  for (const ToolCall& call : caller->tool_calls) {
    const bool answered = std::any_of(messages.rbegin(), caller, [&](const Message& message) {
      return message.role == Role::kTool && message.tool_call_id == call.id;
    });
    if (!answered && (tool.empty() || call.name == tool)) return call.id;
  }
  return {};
}

// What base64 text holds, by its first bytes; containers are looked into, for as long as a video may take.
PartKind kind_of(std::string_view text, const DecodeLimits& limits) {
  if (text.starts_with("data:")) text.remove_prefix(std::min(text.size(), text.find(',') + 1));
  constexpr size_t kHeadCharacters = 4096;
  std::string bytes;
  if (!decode_base64(text.substr(0, kHeadCharacters), bytes)) return PartKind::kImage;
  const SniffedMedia first = sniff_media(bytes);
  if (first == SniffedMedia::kAudio) return PartKind::kAudio;
  if (first != SniffedMedia::kVideo) return PartKind::kImage;
  if (!decode_base64(text, bytes)) return PartKind::kVideo;
  DecodeBudget budget(limits);
  const auto tracks = sniff_tracks(bytes, "images", DecodeWatch(budget, MediaKind::kVideo));
  return tracks && *tracks == SniffedMedia::kAudio ? PartKind::kAudio : PartKind::kVideo;
}

}  // namespace

std::string read_ollama_model(const Service& service, const RequestReader& reader, std::string_view key) {
  std::string name = reader.string(key).value_or("");
  if (reader.failed()) return name;
  if (name.empty()) {
    reader.fail(bad_request("missing_required_parameter", reader.place(key), "model is required"));
  } else if (auto unknown = service.check_model(Surface::kOllama, name)) {
    reader.fail(std::move(*unknown));
  }
  return name;
}

void read_ollama_options(const Service& service, const RequestReader& reader, ChatRequest& request) {
  const Json* given = reader.object("options");
  if (!given) return;
  std::optional<ApiError> error;
  Json numbers = Json::object();
  for (const auto& [key, value] : given->items()) numbers[key] = as_number(value);
  const RequestReader options(numbers, reader.place("options"), error);
  Json sampling = Json::object();
  for (const char* key : kSamplingOptions) {
    if (options.has(key)) sampling[key] = numbers[key];
  }
  // A stop string of digits is no number.
  if (given->contains("stop")) sampling["stop"] = (*given)["stop"];
  read_sampling(service, RequestReader(sampling, options.path(), error), request);
  // -1: until the end, -2: as much as fits; nothing here goes on after the end.
  if (const auto most = options.integer("num_predict", -2, INT64_MAX); most && *most > 0)
    request.tokens_max = static_cast<int32_t>(std::min<int64_t>(*most, INT32_MAX));
  for (const char* key : kRunnerIntegers) options.integer(key, INT64_MIN, INT64_MAX);
  for (const char* key : kRunnerFlags) options.boolean(key);
  options.number("typical_p", 0, 1);
  if (const auto context = options.integer("num_ctx", INT64_MIN, INT64_MAX);
      context && *context > service.card().context)
    spdlog::warn("options.num_ctx: {} positions were asked for, there are {}", *context, service.card().context);
  if (error) reader.fail(std::move(*error));
}

void read_ollama_format(const RequestReader& reader, ChatRequest& request) {
  const Json* format = reader.find("format");
  if (!format || *format == Json("")) return;
  if (*format == "json") {
    request.format.kind = AnswerFormat::Kind::kJsonObject;
  } else if (format->is_object()) {
    request.format.kind = AnswerFormat::Kind::kSchema;
    request.format.schema = *format;
  } else {
    return reader.fail_value(
        "format", fmt::format("expected \"json\" or a JSON schema object, found {}", dump_json(*format).substr(0, 80)));
  }
  request.format.strict = false;
  request.format.param = "format";
}

void read_ollama_logprobs(const RequestReader& reader, ChatRequest& request) {
  const bool wanted = reader.boolean("logprobs").value_or(false);
  const auto top = reader.integer("top_logprobs", 0, 20);
  if (wanted) request.logprobs = static_cast<int32_t>(top.value_or(0));
}

std::optional<double> parse_duration_seconds(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty()) return {};
  double seconds = 0;
  while (!text.empty()) {
    double number = 0;
    const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (code != std::errc() || !std::isfinite(number)) return {};
    text.remove_prefix(static_cast<size_t>(rest - text.data()));
    // A number alone counts seconds.
    if (text.empty() && seconds == 0) return negative ? -number : number;
    const size_t length = std::min(text.size(), text.find_first_of("0123456789."));
    const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                                    [&](const auto& each) { return each.first == text.substr(0, length); });
    if (unit == std::end(kUnits)) return {};
    seconds += number * unit->second;
    text.remove_prefix(length);
  }
  return negative ? -seconds : seconds;
}

std::optional<double> read_keep_alive(const RequestReader& reader) {
  const Json* value = reader.find("keep_alive");
  if (!value) return {};
  if (!value->is_string()) return reader.number("keep_alive", -1e18, 1e18);
  const std::optional<double> seconds = parse_duration_seconds(value->get<std::string>());
  if (!seconds)
    reader.fail_value("keep_alive", fmt::format("expected seconds or a duration such as \"5m\", found \"{}\"",
                                                value->get<std::string>().substr(0, 80)));
  return seconds;
}

void read_ollama_images(const Service& service, const RequestReader& message, std::vector<Part>& parts,
                        ChatRequest& request) {
  const std::vector<std::string> images = message.strings("images", static_cast<size_t>(service.options().parts_max));
  for (size_t i = 0; i < images.size() && !message.failed(); ++i) {
    MediaRef ref;
    ref.kind = kind_of(images[i], service.options().decode);
    ref.url = images[i];
    ref.allow_base64 = true;
    ref.param = message.place(fmt::format("images[{}]", i));
    const PartKind kind = ref.kind;
    parts.push_back({kind, "", add_media(service, message, std::move(ref), request)});
  }
}

void read_ollama_messages(const Service& service, const RequestReader& reader, ChatRequest& request) {
  const Json* list = reader.array("messages");
  if (!list || reader.failed()) return;
  const auto most = static_cast<size_t>(service.options().messages_max);
  if (list->size() > most)
    return reader.fail_value("messages", fmt::format("expected at most {}, found {}", most, list->size()));
  std::vector<Message>& messages = request.conversation.messages;
  for (size_t i = 0; i < list->size() && !reader.failed(); ++i) {
    const RequestReader message = reader.element("messages", i);
    Message out;
    out.role = role_of(message);
    read_ollama_images(service, message, out.parts, request);
    if (!out.parts.empty()) out.form = ContentForm::kParts;
    read_content(service, message, "content", out, request);
    if (out.role == Role::kAssistant) {
      out.reasoning = message.string("thinking").value_or("");
      read_calls(service, message, i, out);
    } else if (out.role == Role::kTool) {
      out.name = message.string("tool_name").value_or(message.string("name").value_or(""));
      out.tool_call_id = message.string("tool_call_id");
      if (!out.tool_call_id || out.tool_call_id->empty()) out.tool_call_id = answered_call(messages, out.name);
    }
    messages.push_back(std::move(out));
  }
  if (reader.failed()) return;
  place_results(messages);
  place_system_messages(messages, service.options().keep_system_messages);
  request.continues_reply = service.options().prefill_assistant && !messages.empty() &&
                            messages.back().role == Role::kAssistant && messages.back().tool_calls.empty();
}

}  // namespace lapidary::server
