#include "text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/text_stream.h"

namespace lapidary {
namespace {

constexpr std::string_view kSpacePiece = "\xe2\x96\x81";  // U+2581
constexpr char32_t kSpaceCode = 0x2581;

// "<0xE2>" -> 0xE2. The reference's decoder takes either case of the digits.
std::optional<uint8_t> byte_token_value(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return static_cast<uint8_t>(value);
}

// Markers are control tokens even where a file forgets to say so: user text must never become one.
bool spelled_as_marker(std::string_view text) {
  if (text == "<pad>" || text == "<eos>" || text == "<bos>" || text == "<unk>" || text == "<mask>") return true;
  return text.size() > 3 &&
         ((text.starts_with("<|") && text.ends_with(">")) || (text.starts_with("<") && text.ends_with("|>")));
}

std::string with_space_pieces(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const char c : text) {
    if (c == ' ') {
      out += kSpacePiece;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  std::vector<int32_t> out;
  MergeTable::Scratch scratch;
  std::string repaired;
  if (!utf8_valid(text)) text = repaired = utf8_repair(text);
  encode_segment(text, special, out, scratch);
  return out;
}

std::vector<int32_t> Tokenizer::encode_runs(std::span<const EncodeItem> items) const {
  std::vector<int32_t> out;
  MergeTable::Scratch scratch;
  std::string run;
  const auto flush = [&] {
    if (!utf8_valid(run)) run = utf8_repair(run);
    encode_segment(run, SpecialTokens::kAsText, out, scratch);
    run.clear();
  };
  for (const EncodeItem& item : items) {
    if (item.token < 0) {
      run += item.text;
    } else {
      flush();
      out.push_back(item.token);
    }
  }
  flush();
  return out;
}

// text is valid UTF-8. Added tokens are cut out of the text as it is, then out of what is left with its spaces
// replaced.
void Tokenizer::encode_segment(std::string_view text, SpecialTokens special, std::vector<int32_t>& out,
                               MergeTable::Scratch& scratch) const {
  const bool with_control = special == SpecialTokens::kRecognise;
  const auto cut = [&](const AddedTokens& tokens, std::string_view whole, auto&& between) {
    for (size_t at = 0; at < whole.size();) {
      const AddedTokens::Match match = tokens.find(whole, at, with_control);
      if (match.begin > at) between(whole.substr(at, match.begin - at));
      if (match.id >= 0) out.push_back(match.id);
      at = match.end;
    }
  };
  cut(added_, text, [&](std::string_view part) {
    if (added_normalized_.empty()) {
      encode_plain(part, out, scratch);
    } else {
      cut(added_normalized_, with_space_pieces(part), [&](std::string_view rest) { encode_plain(rest, out, scratch); });
    }
  });
}

// -1 when the vocabulary lacks the character.
int32_t Tokenizer::symbol_of(char32_t code, std::string_view utf8) const {
  if (code < character_ids_.size()) return character_ids_[code];
  const std::optional<int32_t> id = vocabulary_.find(utf8);
  return id && !is_special(*id) ? *id : -1;
}

// Merges over text without added tokens. The text is cut where no merge can reach across: the same ids as merging it
// whole, because merges on both sides of such a place never meet.
void Tokenizer::encode_plain(std::string_view text, std::vector<int32_t>& out, MergeTable::Scratch& scratch) const {
  std::vector<int32_t> symbols;
  const auto flush = [&] {
    merges_.apply(symbols, scratch);
    out.insert(out.end(), symbols.begin(), symbols.end());
    symbols.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const Utf8Scalar scalar = utf8_scalar(text, at);
    const std::string_view utf8 = text.substr(at, static_cast<size_t>(scalar.bytes));
    at += utf8.size();
    const int32_t symbol = symbol_of(scalar.code == U' ' ? kSpaceCode : scalar.code, utf8);
    if (symbol < 0) {
      flush();
      const std::string_view bytes = scalar.code == U' ' ? kSpacePiece : utf8;
      for (const char byte : bytes) out.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
      continue;
    }
    if (!symbols.empty() && !merges_.may_join(symbols.back(), symbol)) flush();
    symbols.push_back(symbol);
  }
  flush();
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string out;
  TextStream stream(*this);
  for (const int32_t id : ids) out += stream.push(id);
  return out + stream.flush();
}

std::optional<uint8_t> Tokenizer::byte_of(int32_t id) const { return byte_token_value(piece(id)); }

std::string Tokenizer::bytes_of(int32_t id) const {
  const std::string_view text = piece(id);
  if (const std::optional<uint8_t> byte = byte_token_value(text)) return std::string(1, static_cast<char>(*byte));
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with(kSpacePiece)) {
      out += ' ';
      at += kSpacePiece.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

TokenizerBuilder::TokenizerBuilder(std::string source) : source_(std::move(source)) {
  tokenizer_.character_ids_.assign(65536, -1);
}

void TokenizerBuilder::reserve(size_t pieces, size_t bytes, size_t merges) {
  tokenizer_.vocabulary_.reserve(pieces, bytes);
  tokenizer_.merges_.reserve(merges);
}

Result<void> TokenizerBuilder::add_piece(int32_t id, std::string_view text) {
  if (!utf8_valid(text)) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: piece {} is not valid UTF-8", source_, id)};
  }
  if (Result<void> added = tokenizer_.vocabulary_.add(id, text); !added) {
    return Error{added.error().code, fmt::format("{}: {}", source_, added.error().message)};
  }
  if (text.empty()) return {};
  const Utf8Scalar first = utf8_scalar(text, 0);
  const bool one_character = static_cast<size_t>(first.bytes) == text.size();
  if (one_character && first.code < tokenizer_.character_ids_.size()) tokenizer_.character_ids_[first.code] = id;
  return {};
}

Result<void> TokenizerBuilder::add_token(int32_t id, std::string_view text, bool special, bool normalized) {
  if (text.empty()) return Error{ErrorCode::kCorruptFile, fmt::format("{}: added token {} is empty", source_, id)};
  const std::optional<int32_t> known = tokenizer_.vocabulary_.find(text);
  if (!known) {
    RETURN_IF_ERROR(add_piece(id, text));
  } else if (*known != id) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("{}: added token \"{}\" has id {}, the vocabulary says {}", source_, text, id, *known)};
  }
  const bool control = special || spelled_as_marker(text);
  std::vector<bool>& flags = tokenizer_.control_;
  if (flags.size() < static_cast<size_t>(tokenizer_.vocabulary_size())) {
    flags.resize(static_cast<size_t>(tokenizer_.vocabulary_size()));
  }
  flags[static_cast<size_t>(id)] = control;
  if (normalized) {
    tokenizer_.added_normalized_.add(with_space_pieces(text), id, control);
  } else {
    tokenizer_.added_.add(text, id, control);
  }
  const Utf8Scalar first = utf8_scalar(text, 0);
  if (control && static_cast<size_t>(first.bytes) == text.size() && first.code < tokenizer_.character_ids_.size()) {
    tokenizer_.character_ids_[first.code] = -1;  // as text it is spelled in bytes
  }
  return {};
}

Result<int32_t> TokenizerBuilder::merge_part(std::string_view text, std::string_view role) const {
  const std::optional<int32_t> id = tokenizer_.vocabulary_.find(text);
  if (id) return *id;
  return Error{ErrorCode::kCorruptFile,
               fmt::format("{}: merge {}: {} \"{}\" is not in the vocabulary", source_, merges_seen_, role, text)};
}

Result<void> TokenizerBuilder::add_merge(std::string_view left, std::string_view right) {
  const Tokenizer& t = tokenizer_;
  std::string both(left);
  both += right;
  ASSIGN_OR_RETURN(const int32_t left_id, merge_part(left, "left part"));
  ASSIGN_OR_RETURN(const int32_t right_id, merge_part(right, "right part"));
  ASSIGN_OR_RETURN(const int32_t result, merge_part(both, "result"));
  if (left.empty() || right.empty()) {
    return Error{ErrorCode::kCorruptFile, fmt::format("{}: merge {} has an empty part", source_, merges_seen_)};
  }
  if (byte_token_value(left) || byte_token_value(right)) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: merge {} joins a byte token (\"{}\" and \"{}\"), which Gemma's never do", source_,
                             merges_seen_, left, right)};
  }
  ++merges_seen_;
  // A control token is recognised whole or not at all: characters never add up to one.
  if (t.is_special(result) || t.is_special(left_id) || t.is_special(right_id)) return {};
  const std::string_view last = left.substr(utf8_floor(left, left.size() - 1));
  const Utf8Scalar first = utf8_scalar(right, 0);
  const int32_t left_end = t.symbol_of(utf8_scalar(last, 0).code, last);
  const int32_t right_begin = t.symbol_of(first.code, right.substr(0, static_cast<size_t>(first.bytes)));
  if (left_end < 0 || right_begin < 0) return {};  // its parts cannot be made: they hold a character spelled in bytes
  tokenizer_.merges_.add(left_id, right_id, result, left_end, right_begin);
  return {};
}

Result<Tokenizer> TokenizerBuilder::build() {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string name = fmt::format("<0x{:02X}>", byte);
    const std::optional<int32_t> id = tokenizer_.vocabulary_.find(name);
    if (!id) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("{}: byte token {} is not in the vocabulary; all 256 are expected", source_, name)};
    }
    tokenizer_.byte_ids_[static_cast<size_t>(byte)] = *id;
  }
  return std::move(tokenizer_);
}

}  // namespace lapidary
