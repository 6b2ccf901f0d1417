// tokenizer.json -> Tokenizer. Everything that would change the ids is checked: a tokenizer of another structure is
// refused rather than run with other results. What the file says about truncation, padding and post-processing is not
// used: prompts are written by chat/.
#include <fmt/format.h>
#include <simdjson.h>

#include <string>

#include "base/limits.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

namespace lapidary {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::string_view kSpacePiece = "\xe2\x96\x81";  // U+2581

// Reading one field of a JSON object; missing and null are the same.
bool field(const object& from, std::string_view key, element& value) {
  return from.at_key(key).get(value) == simdjson::SUCCESS && !value.is_null();
}

bool is_string(const object& from, std::string_view key, std::string_view expected) {
  element value;
  std::string_view text;
  return field(from, key, value) && value.get(text) == simdjson::SUCCESS && text == expected;
}

bool flag(const object& from, std::string_view key) {
  element value;
  bool on = false;
  return field(from, key, value) && value.get(on) == simdjson::SUCCESS && on;
}

std::string shown(const element& value) {
  std::string text = simdjson::minify(value);
  if (text.size() > 120) text = text.substr(0, utf8_floor(text, 117)) + "...";
  return text;
}

class Reader {
 public:
  Reader(const object& root, std::string_view source) : root_(root), source_(source), builder_(std::string(source)) {}

  Result<Tokenizer> read() {
    RETURN_IF_ERROR(check_normalizer());
    RETURN_IF_ERROR(check_pre_tokenizer());
    RETURN_IF_ERROR(check_decoder());
    ASSIGN_OR_RETURN(const object model, member(root_, "model"));
    RETURN_IF_ERROR(check_model(model));
    RETURN_IF_ERROR(read_pieces(model));
    RETURN_IF_ERROR(read_added_tokens());
    RETURN_IF_ERROR(read_merges(model));
    return builder_.build();
  }

 private:
  Error corrupt(std::string_view where, std::string_view expected, std::string_view found) const {
    return {ErrorCode::kCorruptFile, fmt::format("{}: {}: expected {}, found {}", source_, where, expected, found)};
  }
  Error unsupported(std::string_view where, std::string_view expected) const {
    element value;
    const bool there = field(root_, where, value);
    return {ErrorCode::kUnsupported, fmt::format("{}: not a Gemma tokenizer: {}: expected {}, found {}", source_, where,
                                                 expected, there ? shown(value) : "nothing")};
  }

  Result<object> member(const object& from, std::string_view key) const {
    element value;
    object result;
    if (!field(from, key, value)) return corrupt(key, "an object", "nothing");
    if (value.get(result) != simdjson::SUCCESS) return corrupt(key, "an object", shown(value));
    return result;
  }

  // {"type": "Replace", "pattern": {"String": from}, "content": to}
  static bool is_replace(const element& value, std::string_view from, std::string_view to) {
    object replace, pattern;
    element pattern_value;
    return value.get(replace) == simdjson::SUCCESS && is_string(replace, "type", "Replace") &&
           field(replace, "pattern", pattern_value) && pattern_value.get(pattern) == simdjson::SUCCESS &&
           is_string(pattern, "String", from) && is_string(replace, "content", to);
  }

  static bool is_sequence(const element& value, std::string_view key, array& parts) {
    object sequence;
    element list;
    return value.get(sequence) == simdjson::SUCCESS && is_string(sequence, "type", "Sequence") &&
           field(sequence, key, list) && list.get(parts) == simdjson::SUCCESS;
  }

  static bool is_type(const element& value, std::string_view type) {
    object step;
    return value.get(step) == simdjson::SUCCESS && is_string(step, "type", type);
  }

  Result<void> check_normalizer() const {
    constexpr std::string_view kExpected = R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})";
    element value;
    array parts;
    if (!field(root_, "normalizer", value)) return unsupported("normalizer", kExpected);
    if (is_replace(value, " ", kSpacePiece)) return {};
    if (is_sequence(value, "normalizers", parts) && parts.size() == 1 && is_replace(parts.at(0), " ", kSpacePiece)) {
      return {};
    }
    return unsupported("normalizer", kExpected);
  }

  // A split at " " does nothing, because the normaliser leaves no space.
  Result<void> check_pre_tokenizer() const {
    element value, pattern_value;
    object split, pattern;
    if (!field(root_, "pre_tokenizer", value)) return {};
    if (value.get(split) == simdjson::SUCCESS && is_string(split, "type", "Split") && !flag(split, "invert") &&
        field(split, "pattern", pattern_value) && pattern_value.get(pattern) == simdjson::SUCCESS &&
        is_string(pattern, "String", " ")) {
      return {};
    }
    return unsupported("pre_tokenizer", "none, or a Split at \" \"");
  }

  Result<void> check_decoder() const {
    constexpr std::string_view kExpected = "a Sequence of Replace \"▁\" by \" \", ByteFallback, Fuse";
    element value;
    array steps;
    if (!field(root_, "decoder", value) || !is_sequence(value, "decoders", steps) || steps.size() < 2 ||
        steps.size() > 3 || !is_replace(steps.at(0), kSpacePiece, " ") || !is_type(steps.at(1), "ByteFallback") ||
        (steps.size() == 3 && !is_type(steps.at(2), "Fuse"))) {
      return unsupported("decoder", kExpected);
    }
    return {};
  }

  Result<void> check_model(const object& model) const {
    const auto wrong = [&](std::string_view key, std::string_view expected) {
      element value;
      const bool there = field(model, key, value);
      return Error{ErrorCode::kUnsupported, fmt::format("{}: not a Gemma tokenizer: model.{}: expected {}, found {}",
                                                        source_, key, expected, there ? shown(value) : "nothing")};
    };
    element value;
    double dropout = 0;
    if (!is_string(model, "type", "BPE")) return wrong("type", "\"BPE\"");
    if (!flag(model, "byte_fallback")) return wrong("byte_fallback", "true");
    if (flag(model, "ignore_merges")) return wrong("ignore_merges", "false");
    if (field(model, "dropout", value) && (value.get(dropout) != simdjson::SUCCESS || dropout != 0)) {
      return wrong("dropout", "none");
    }
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (field(model, key, value) && !is_string(model, key, "")) return wrong(key, "none");
    }
    return {};
  }

  Result<int32_t> id_of(const element& value, std::string_view where) const {
    uint64_t id = 0;
    if (value.get(id) != simdjson::SUCCESS || id >= static_cast<uint64_t>(Vocabulary::kIdsMax)) {
      return corrupt(where, fmt::format("an id below {}", Vocabulary::kIdsMax), shown(value));
    }
    return static_cast<int32_t>(id);
  }

  Result<void> read_pieces(const object& model) {
    ASSIGN_OR_RETURN(const object vocab, member(model, "vocab"));
    element merges_value;
    array merges;
    const bool has_merges = field(model, "merges", merges_value) && merges_value.get(merges) == simdjson::SUCCESS;
    size_t pieces = 0, bytes = 0;
    for (const auto entry : vocab) {
      ++pieces;
      bytes += entry.key.size();
    }
    builder_.reserve(pieces, bytes, has_merges ? merges.size() : 0);
    for (const auto entry : vocab) {
      uint64_t id = 0;  // the usual case first: this loop runs over the whole vocabulary
      if (entry.value.get(id) != simdjson::SUCCESS || id >= static_cast<uint64_t>(Vocabulary::kIdsMax)) {
        return id_of(entry.value, fmt::format("model.vocab[\"{}\"]", entry.key)).error();
      }
      RETURN_IF_ERROR(builder_.add_piece(static_cast<int32_t>(id), entry.key));
    }
    return {};
  }

  Result<void> read_added_tokens() {
    element value;
    array tokens;
    if (!field(root_, "added_tokens", value)) return {};
    if (value.get(tokens) != simdjson::SUCCESS) return corrupt("added_tokens", "an array", shown(value));
    size_t index = 0;
    for (const element entry : tokens) {
      const std::string where = fmt::format("added_tokens[{}]", index++);
      object token;
      element id_value, content_value;
      std::string_view content;
      if (entry.get(token) != simdjson::SUCCESS || !field(token, "id", id_value) ||
          !field(token, "content", content_value) || content_value.get(content) != simdjson::SUCCESS) {
        return corrupt(where, "an object with id and content", shown(entry));
      }
      ASSIGN_OR_RETURN(const int32_t id, id_of(id_value, where));
      if (flag(token, "single_word") || flag(token, "lstrip") || flag(token, "rstrip")) {
        return Error{ErrorCode::kUnsupported,
                     fmt::format("{}: not a Gemma tokenizer: {}: expected no single_word, lstrip or rstrip, found {}",
                                 source_, where, shown(entry))};
      }
      RETURN_IF_ERROR(builder_.add_token(id, content, flag(token, "special"), flag(token, "normalized")));
    }
    return {};
  }

  // A merge is ["a", "b"] or, in older files, "a b".
  Result<void> read_merges(const object& model) {
    element value;
    array merges;
    if (!field(model, "merges", value)) return corrupt("model.merges", "an array", "nothing");
    if (value.get(merges) != simdjson::SUCCESS) return corrupt("model.merges", "an array", shown(value));
    size_t index = 0;
    for (const element entry : merges) {
      std::string_view left, right, joined;
      array pair;
      if (entry.get(pair) == simdjson::SUCCESS) {
        auto part = pair.begin();
        const bool two =
            pair.size() == 2 && (*part).get(left) == simdjson::SUCCESS && (*++part).get(right) == simdjson::SUCCESS;
        if (!two) return corrupt(fmt::format("model.merges[{}]", index), "two strings", shown(entry));
      } else {
        const size_t space = entry.get(joined) == simdjson::SUCCESS ? joined.find(' ') : std::string_view::npos;
        if (space == std::string_view::npos || joined.find(' ', space + 1) != std::string_view::npos) {
          return corrupt(fmt::format("model.merges[{}]", index), "two strings, or two parts with a space between",
                         shown(entry));
        }
        left = joined.substr(0, space);
        right = joined.substr(space + 1);
      }
      RETURN_IF_ERROR(builder_.add_merge(left, right));
      ++index;
    }
    return {};
  }

  object root_;
  std::string_view source_;
  TokenizerBuilder builder_;
};

}  // namespace

Result<Tokenizer> Tokenizer::parse(std::string_view json_text, std::string_view source) {
  if (json_text.size() > static_cast<size_t>(kLimits.tokenizer_bytes_max)) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: {} bytes, at most {} allowed", source, json_text.size(),
                                                      kLimits.tokenizer_bytes_max)};
  }
  if (json_text.empty()) return Error{ErrorCode::kCorruptFile, fmt::format("{}: empty", source)};
  simdjson::dom::parser parser;
  element document;
  object root;
  if (const auto error = parser.parse(json_text.data(), json_text.size()).get(document); error != simdjson::SUCCESS) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: not valid JSON: {}", source, simdjson::error_message(error))};
  }
  if (document.get(root) != simdjson::SUCCESS) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: expected a JSON object, found {}", source, shown(document))};
  }
  return Reader(root, source).read();
}

Result<Tokenizer> Tokenizer::open(const std::filesystem::path& path) {
  std::error_code ignored;
  const std::filesystem::path file = std::filesystem::is_directory(path, ignored) ? path / "tokenizer.json" : path;
  ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(file));
  const std::span<const std::byte> bytes = mapped.bytes();
  return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string());
}

}  // namespace lapidary
