#include "server/sampling_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/limits.h"
#include "media/options.h"

namespace lapidary::server {
namespace {

constexpr double kPenaltyMax = 2;

// Ids as keys of an object are text.
std::optional<int32_t> token_id(std::string_view text) {
  int32_t id = 0;
  const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (code != std::errc() || rest != text.data() + text.size() || id < 0) return {};
  return id;
}

void add_bias(const Service& service, const RequestReader& reader, std::string_view key, int64_t id, double bias,
              ChatRequest& request) {
  if (id < 0 || id >= service.card().vocab)
    return reader.fail_value(key, fmt::format("expected a token id below {}, found {}", service.card().vocab, id));
  if (!(bias >= -100 && bias <= 100))
    return reader.fail_value(key, fmt::format("expected a bias of -100 to 100, found {}", bias));
  request.sampling.logit_bias.emplace_back(static_cast<int32_t>(id), static_cast<float>(bias));
}

// {"id": bias}, or llama-server's [[id or text, bias or false]].
void read_logit_bias(const Service& service, const RequestReader& reader, ChatRequest& request) {
  const Json* value = reader.find("logit_bias");
  if (!value) return;
  const size_t entries_max = static_cast<size_t>(kLimits.logit_biases_max);
  if ((value->is_object() || value->is_array()) && value->size() > entries_max)
    return reader.fail_value("logit_bias",
                             fmt::format("expected at most {} entries, found {}", entries_max, value->size()));
  if (value->is_object()) {
    for (const auto& [key, bias] : value->items()) {
      const std::optional<int32_t> id = token_id(key);
      if (!id || !bias.is_number())
        return reader.fail_value("logit_bias", fmt::format("expected token ids with numbers, found \"{}\": {}", key,
                                                           dump_json(bias).substr(0, 40)));
      add_bias(service, reader, "logit_bias", *id, bias.get<double>(), request);
    }
    return;
  }
  if (!value->is_array()) {
    reader.ignore_type("logit_bias", "an object", false);
    return;
  }
  for (const Json& pair : *value) {
    const bool fits = pair.is_array() && pair.size() == 2 && (pair[0].is_number_integer() || pair[0].is_string()) &&
                      (pair[1].is_number() || pair[1] == false);
    if (!fits)
      return reader.fail_value("logit_bias",
                               fmt::format("expected pairs [id, bias], found {}", dump_json(pair).substr(0, 80)));
    const double bias = pair[1].is_number() ? pair[1].get<double>() : -100;
    if (pair[0].is_number_integer()) {
      add_bias(service, reader, "logit_bias", pair[0].get<int64_t>(), bias, request);
    } else {
      for (const int32_t id : service.tokenizer().encode(pair[0].get<std::string>(), SpecialTokens::kAsText))
        add_bias(service, reader, "logit_bias", id, bias, request);
    }
  }
}

std::optional<std::vector<int32_t>> read_ids(const Service& service, const RequestReader& reader, std::string_view key,
                                             size_t count_max) {
  const Json* list = reader.array(key);
  if (!list || list->empty()) return {};
  if (list->size() > count_max) {
    reader.fail_value(key, fmt::format("expected at most {} ids, found {}", count_max, list->size()));
    return {};
  }
  std::vector<int32_t> ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= service.card().vocab) {
      reader.fail_value(
          key, fmt::format("expected token ids below {}, found {}", service.card().vocab, dump_json(id).substr(0, 40)));
      return {};
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// Words of one token are banned; a ban of longer ones would need the text so far.
void read_bad_words(const Service& service, const RequestReader& reader, ChatRequest& request) {
  for (const std::string& word : reader.strings("bad_words", static_cast<size_t>(kLimits.logit_biases_max))) {
    for (const std::string& text : {word, " " + word}) {
      const std::vector<int32_t> ids = service.tokenizer().encode(text, SpecialTokens::kAsText);
      if (ids.size() == 1) {
        request.sampling.logit_bias.emplace_back(ids[0], -100.0f);
      } else if (text == word) {
        reader.fail(bad_request(
            "unsupported_value", reader.place("bad_words"),
            fmt::format("bad_words: \"{}\" is {} tokens; only words of one token can be banned", word, ids.size())));
      }
    }
  }
}

}  // namespace

void default_sampling(const Service& service, ChatRequest& request) {
  const GenerationDefaults& defaults = service.defaults();
  request.sampling.temperature = defaults.temperature;
  request.sampling.top_p = defaults.top_p;
  request.sampling.top_k = defaults.top_k;
  request.sampling.min_p = defaults.min_p;
}

void read_sampling(const Service& service, const RequestReader& reader, ChatRequest& request) {
  SamplingParams& sampling = request.sampling;
  if (const auto v = reader.number("temperature", 0, 100)) sampling.temperature = static_cast<float>(*v);
  if (const auto v = reader.number("top_p", 0, 1)) sampling.top_p = static_cast<float>(*v);
  if (const auto v = reader.integer("top_k", -1, INT32_MAX))
    sampling.top_k = static_cast<int32_t>(std::max<int64_t>(*v, 0));
  if (const auto v = reader.number("min_p", 0, 1)) sampling.min_p = static_cast<float>(*v);
  if (const auto v = reader.number("frequency_penalty", -kPenaltyMax, kPenaltyMax))
    sampling.frequency_penalty = static_cast<float>(*v);
  if (const auto v = reader.number("presence_penalty", -kPenaltyMax, kPenaltyMax))
    sampling.presence_penalty = static_cast<float>(*v);
  for (const char* key : {"repeat_penalty", "repetition_penalty"}) {
    if (const auto v = reader.number(key, 0, 100)) {
      if (*v == 0) reader.fail_value(key, "expected more than 0, found 0");
      sampling.repetition_penalty = static_cast<float>(*v);
    }
  }
  if (const auto v = reader.integer("repeat_last_n", -1, INT32_MAX))
    sampling.repetition_window = static_cast<int32_t>(*v);
  // Any 64 bits; a negative seed is llama-server's "draw one" when it is -1.
  if (const auto v = reader.integer("seed", INT64_MIN, INT64_MAX); v && *v != -1)
    request.seed = static_cast<uint64_t>(*v);
  read_logit_bias(service, reader, request);
  read_bad_words(service, reader, request);
  std::vector<std::string> stop = reader.strings("stop", static_cast<size_t>(kLimits.stop_strings_max));
  std::erase(stop, "");
  if (!stop.empty()) request.stop = std::move(stop);
  if (auto ids = read_ids(service, reader, "stop_token_ids", static_cast<size_t>(kLimits.stop_tokens_max)))
    request.stop_tokens = std::move(*ids);
  request.allowed_tokens = read_ids(service, reader, "allowed_token_ids", static_cast<size_t>(service.card().vocab));
  request.include_stop = reader.boolean("include_stop_str_in_output").value_or(false);
  request.ignore_eos = reader.boolean("ignore_eos").value_or(false);
  for (const char* key : {"min_completion_tokens", "min_tokens"}) {
    if (const auto v = reader.integer(key, 0, INT32_MAX)) request.tokens_min = static_cast<int32_t>(*v);
  }
  if (const auto v = reader.integer("n", 1, service.options().choices_max)) request.choices = static_cast<int32_t>(*v);
  if (const auto v = reader.boolean("cache_prompt")) request.use_prefix_cache = *v;
  if (const auto v = reader.string("cache_salt")) request.cache_salt = *v;
}

void read_tokens_max(const RequestReader& reader, int64_t min, ChatRequest& request) {
  for (const char* key : {"max_completion_tokens", "max_tokens", "n_predict"}) {
    if (!reader.has(key)) continue;
    const auto value = reader.integer(key, -1, INT64_MAX);
    if (!value || *value == -1) return;
    if (*value < min) return reader.fail_value(key, fmt::format("expected at least {}, found {}", min, *value));
    request.tokens_max = static_cast<int32_t>(std::min<int64_t>(*value, INT32_MAX));
    return;
  }
}

void read_format_object(const RequestReader& format, bool flat, ChatRequest& request) {
  const std::string type = format.required_string("type");
  if (format.failed() || type == "text") return;
  request.format.param = format.path();
  if (type == "json_object") {
    // llama-server allows a schema here.
    const Json* schema = format.object("schema");
    request.format.kind = schema ? AnswerFormat::Kind::kSchema : AnswerFormat::Kind::kJsonObject;
    if (schema) request.format.schema = *schema;
    request.format.strict = false;
    return;
  }
  if (type == "json_schema") {
    const bool bare = flat || (!format.has("json_schema") && format.has("schema"));
    if (!bare && !format.required("json_schema")) return;
    const RequestReader holder = bare ? format : format.inside("json_schema");
    const Json* schema = holder.required("schema");
    if (!schema) return;
    if (!schema->is_object() && !schema->is_boolean()) {
      holder.ignore_type("schema", "an object", false);
      return;
    }
    request.format.kind = AnswerFormat::Kind::kSchema;
    request.format.schema = *schema;
    request.format.strict = holder.boolean("strict").value_or(false);
    request.format.param = holder.place("schema");
    return;
  }
  if (type == "regex" || type == "grammar" || type == "structural_tag") {
    format.fail(bad_request("unsupported_value", format.place("type"),
                            fmt::format("{}: \"{}\" is not supported; use json_schema, or structured_outputs.regex",
                                        format.place("type"), type)));
    return;
  }
  format.fail_value("type", fmt::format("expected text, json_object or json_schema, found \"{}\"", type));
}

namespace {

void set_schema(const RequestReader& reader, std::string_view key, ChatRequest& request) {
  Json schema = *reader.find(key);
  // Older clients send the schema as text.
  if (schema.is_string()) {
    Result<Json> parsed = parse_json(schema.get<std::string>(), reader.place(key));
    if (!parsed) return reader.fail(bad_request("invalid_json_schema", reader.place(key), parsed.error().message));
    schema = std::move(*parsed);
  }
  if (!schema.is_object() && !schema.is_boolean()) return reader.ignore_type(key, "a JSON schema", false);
  request.format = {AnswerFormat::Kind::kSchema, std::move(schema), false, {}, {}, reader.place(key)};
}

// One field of structured_outputs, or the older guided_* of the same meaning.
bool read_guide(const RequestReader& reader, std::string_view kind, std::string_view key, ChatRequest& request) {
  if (!reader.has(key)) return false;
  if (kind == "json") {
    set_schema(reader, key, request);
  } else if (kind == "regex") {
    request.format = {AnswerFormat::Kind::kRegex, {}, true, reader.string(key).value_or(""), {}, reader.place(key)};
  } else if (kind == "choice") {
    request.format = {AnswerFormat::Kind::kChoice, {}, true, {}, reader.strings(key, 10'000), reader.place(key)};
  } else if (kind == "json_object") {
    if (reader.boolean(key).value_or(false))
      request.format = {AnswerFormat::Kind::kJsonObject, {}, true, {}, {}, reader.place(key)};
  } else {
    reader.fail(bad_request("unsupported_value", reader.place(key),
                            fmt::format("{} is not supported; use a JSON schema or a regex", reader.place(key))));
  }
  return true;
}

}  // namespace

void read_format(const RequestReader& reader, ChatRequest& request) {
  std::vector<std::string> given;
  if (const Json* format = reader.object("response_format")) {
    read_format_object(reader.inside("response_format"), false, request);
    if (!reader.failed() && format->value("type", "") != "text") given.push_back("response_format");
  }
  if (reader.has("structured_outputs")) {
    const RequestReader inside = reader.inside("structured_outputs");
    for (const char* kind : {"json", "regex", "choice", "grammar", "json_object", "structural_tag"}) {
      if (read_guide(inside, kind, kind, request)) given.push_back(fmt::format("structured_outputs.{}", kind));
    }
  }
  for (const auto& [kind, key] :
       {std::pair("json", "guided_json"), std::pair("regex", "guided_regex"), std::pair("choice", "guided_choice"),
        std::pair("grammar", "guided_grammar"), std::pair("json", "json_schema"), std::pair("grammar", "grammar")}) {
    if (reader.has(key) && *reader.find(key) == Json("")) continue;
    if (read_guide(reader, kind, key, request)) given.push_back(key);
  }
  if (given.size() > 1)
    reader.fail_value(
        given[1].substr(0, given[1].find('.')),
        fmt::format("only one format of the answer can be asked for, found {}", fmt::join(given, " and ")));
}

std::optional<int64_t> effort_budget(std::string_view effort) {
  if (effort == "none") return 0;
  if (effort == "minimal") return 512;
  if (effort == "low") return 1024;
  if (effort == "medium") return 4096;
  if (effort == "high") return 16384;
  if (effort == "xhigh" || effort == "max" || effort == "ultra") return -1;
  return {};
}

void read_thinking(const Service& service, const RequestReader& reader, Surface surface, ChatRequest& request) {
  std::optional<bool> thinks;
  int64_t budget = -1;
  // The first field that is there decides; the ones after it are looked at for their types only.
  const auto decide = [&](std::optional<bool> on, int64_t effort = -1) {
    if (thinks || !on) return;
    thinks = on;
    budget = effort;
  };
  const auto effort = [&](const RequestReader& from, std::string_view key) {
    const std::optional<std::string> word = from.string(key);
    if (!word) return;
    const std::optional<int64_t> tokens = effort_budget(*word);
    if (!tokens)
      return from.fail_value(
          key, fmt::format("expected none, minimal, low, medium, high, xhigh or max, found \"{}\"", *word));
    decide(*tokens != 0, *tokens);
  };
  decide(reader.inside("chat_template_kwargs").boolean("enable_thinking"));
  request.conversation.preserve_thinking =
      reader.inside("chat_template_kwargs").boolean("preserve_thinking").value_or(false);
  if (const Json* think = reader.find("think")) {
    if (think->is_string()) {
      effort(reader, "think");
    } else {
      decide(reader.boolean("think"));
    }
  }
  if (reader.has("thinking") && reader.find("thinking")->is_object()) {
    const RequestReader thinking = reader.inside("thinking");
    const auto type = thinking.one_of("type", {"enabled", "adaptive", "between_tools", "disabled"});
    if (type) decide(*type != "disabled", thinking.integer("budget_tokens", 1, INT64_MAX).value_or(-1));
  }
  if (reader.has("reasoning")) {
    const RequestReader reasoning = reader.inside("reasoning");
    effort(reasoning, "effort");
    decide(reasoning.boolean("enabled"));
    if (const auto tokens = reasoning.integer("max_tokens", 1, INT64_MAX)) decide(true, *tokens);
  }
  effort(reader, "reasoning_effort");
  if (reader.has("output_config") && reader.inside("output_config").has("effort") && surface == Surface::kAnthropic) {
    const auto tokens = effort_budget(reader.inside("output_config").string("effort").value_or(""));
    if (!tokens) reader.inside("output_config").fail_value("effort", "expected low, medium, high, xhigh or max");
    // Effort bounds thinking; alone it does not switch it on there.
    if (tokens && thinks.value_or(false) && budget < 0) budget = *tokens;
  }
  if (const auto off = reader.boolean("disable_reasoning"); off && *off) decide(false);
  if (const auto clear = reader.boolean("clear_thinking")) request.conversation.preserve_thinking = !*clear;
  for (const char* key : {"thinking_budget", "thinking_token_budget"}) {
    if (const auto tokens = reader.integer(key, 0, INT64_MAX)) budget = *tokens;
  }
  const ThinkingDefault fallback = service.options().thinking;
  request.conversation.thinking = thinks.value_or(fallback == ThinkingDefault::kOn ||
                                                  (fallback == ThinkingDefault::kAuto && surface == Surface::kOllama));
  request.thinking_budget = budget;
}

void read_media_options(const RequestReader& reader, ChatRequest& request) {
  const auto budget = [&](const RequestReader& from, std::string_view key) {
    const Json* value = from.find(key);
    if (!value) return;
    if (*value == "auto") {
      request.image_tokens = kAutoImageTokens;
      return;
    }
    const auto tokens = from.integer(key, 0, INT32_MAX);
    if (!tokens) return;
    if (std::find(kSoftTokenBudgets.begin(), kSoftTokenBudgets.end(), *tokens) == kSoftTokenBudgets.end())
      return from.fail_value(key,
                             fmt::format("expected one of {}, found {}", fmt::join(kSoftTokenBudgets, ", "), *tokens));
    request.image_tokens = static_cast<int32_t>(*tokens);
  };
  budget(reader, "image_tokens");
  const auto frames = [&](const RequestReader& from) {
    if (const auto n = from.integer("num_frames", 1, kLimits.video_frames_max))
      request.video_frames = static_cast<int32_t>(*n);
    if (const auto fps = from.number("fps", 0.001, 1000)) request.video_fps = *fps;
  };
  if (const Json* kwargs = reader.object("mm_processor_kwargs")) {
    const RequestReader inside = reader.inside("mm_processor_kwargs");
    for (const auto& [key, value] : kwargs->items()) {
      if (key != "max_soft_tokens" && key != "num_frames" && key != "fps")
        reader.fail(bad_request("unsupported_parameter", inside.place(key),
                                fmt::format("{}: expected max_soft_tokens, num_frames or fps", inside.place(key))));
    }
    budget(inside, "max_soft_tokens");
    frames(inside);
  }
  if (reader.has("media_io_kwargs")) frames(reader.inside("media_io_kwargs").inside("video"));
}

}  // namespace lapidary::server
