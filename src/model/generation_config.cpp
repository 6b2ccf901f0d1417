#include "model/generation_config.h"

#include <fmt/format.h>

#include <algorithm>

namespace lapidary {
namespace {

// An id or a list of ids, appended without duplicates.
Result<void> read_ids(const JsonObject& from, std::string_view key, int32_t vocab, std::vector<int32_t>& ids) {
  const Json* value = from.find(key);
  if (value == nullptr) return {};
  const Json list = value->is_array() ? *value : Json::array({*value});
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab) {
      return Error{ErrorCode::kCorruptFile, fmt::format("{}: \"{}\": expected token ids in [0, {}), found {}",
                                                        from.source(), key, vocab, dump_json(id))};
    }
    if (std::find(ids.begin(), ids.end(), id.get<int32_t>()) == ids.end()) ids.push_back(id.get<int32_t>());
  }
  return {};
}

}  // namespace

Result<GenerationDefaults> read_generation_defaults(const std::optional<Json>& json, std::string_view source,
                                                    const ModelConfig& config) {
  GenerationDefaults defaults;
  defaults.stop_ids = config.eos_ids;
  if (!json) return defaults;
  ASSIGN_OR_RETURN(const JsonObject root, JsonObject::of(*json, std::string(source)));
  ASSIGN_OR_RETURN(const double temperature, root.number_or("temperature", defaults.temperature));
  ASSIGN_OR_RETURN(const double top_p, root.number_or("top_p", defaults.top_p));
  ASSIGN_OR_RETURN(const double min_p, root.number_or("min_p", defaults.min_p));
  ASSIGN_OR_RETURN(const int64_t top_k, root.integer_or("top_k", 0, INT32_MAX, defaults.top_k));
  ASSIGN_OR_RETURN(const bool sample, root.boolean_or("do_sample", true));
  if (!(temperature >= 0 && temperature < 1e4) || !(top_p > 0 && top_p <= 1) || !(min_p >= 0 && min_p <= 1)) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: expected temperature >= 0, top_p in (0, 1] and min_p in [0, 1], found {}, {} and {}",
                             source, temperature, top_p, min_p)};
  }
  defaults.temperature = sample ? static_cast<float>(temperature) : 0.0f;
  defaults.top_p = static_cast<float>(top_p);
  defaults.min_p = static_cast<float>(min_p);
  defaults.top_k = static_cast<int32_t>(top_k);
  RETURN_IF_ERROR(read_ids(root, "eos_token_id", config.vocab, defaults.stop_ids));
  RETURN_IF_ERROR(read_ids(root, "suppress_tokens", config.vocab, defaults.suppressed_ids));
  return defaults;
}

}  // namespace lapidary
