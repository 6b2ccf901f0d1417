// Text <-> token ids, as the reference tokenizer of Gemma 4 does it: added tokens first, spaces as U+2581, then
// byte-pair merges over the whole text, bytes for characters that the vocabulary lacks. Ids are never assumed: they
// come from the model's own tokenizer.json, and special tokens are asked for by name.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/added_tokens.h"
#include "text/merge_table.h"
#include "text/vocabulary.h"

namespace lapidary {

// What the text of a control token ("<|turn>") in the input means.
enum class SpecialTokens : uint8_t {
  kAsText,     // ordinary characters: for what users and tools write
  kRecognise,  // the token: for text that a trusted template rendered
};

// One item of a prompt: an id, or text that never becomes a control token.
struct EncodeItem {
  int32_t token = -1;     // >= 0: this id, and text is not looked at
  std::string_view text;  // borrowed
};

class Tokenizer {
 public:
  // Reads tokenizer.json, or that file inside a directory. Errors: kNotFound; kCorruptFile for damage, kUnsupported for
  // a tokenizer of another structure than Gemma's, both naming the field, what was expected and what was found.
  static Result<Tokenizer> open(const std::filesystem::path& path);
  // source names the text in messages.
  static Result<Tokenizer> parse(std::string_view json_text, std::string_view source);

  // Invalid UTF-8 becomes U+FFFD first. Adds nothing: no BOS, no leading space.
  std::vector<int32_t> encode(std::string_view text, SpecialTokens special) const;
  // Texts that follow each other directly are encoded as one run: how they were cut does not show in the ids.
  std::vector<int32_t> encode_runs(std::span<const EncodeItem> items) const;

  // As the reference's decode(ids, skip_special_tokens=False): a run of byte tokens is text when the whole run is valid
  // UTF-8, else one U+FFFD for each byte. Unknown ids give nothing.
  std::string decode(std::span<const int32_t> ids) const;

  // One more than the largest id.
  int32_t vocabulary_size() const { return vocabulary_.size(); }
  // The piece as the file has it: a space is U+2581, a byte token is its name. Empty for an unused id.
  std::string_view piece(int32_t id) const { return vocabulary_.piece(id); }
  // What the token contributes to the text: U+2581 as a space, a byte token as its byte.
  std::string bytes_of(int32_t id) const;
  // The byte of a byte token "<0xE2>", else empty.
  std::optional<uint8_t> byte_of(int32_t id) const;
  // Control tokens: marked special in the file, or with the spelling of Gemma's markers.
  bool is_special(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < control_.size() && control_[static_cast<size_t>(id)];
  }
  // By its exact piece: "<|turn>", "<bos>".
  std::optional<int32_t> id_of(std::string_view piece) const { return vocabulary_.find(piece); }

 private:
  friend class TokenizerBuilder;
  Tokenizer() = default;

  void encode_plain(std::string_view text, std::vector<int32_t>& out, MergeTable::Scratch& scratch) const;
  void encode_segment(std::string_view text, SpecialTokens special, std::vector<int32_t>& out,
                      MergeTable::Scratch& scratch) const;
  int32_t symbol_of(char32_t code, std::string_view utf8) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  AddedTokens added_;                   // matched on the text as it is
  AddedTokens added_normalized_;        // matched after spaces became U+2581
  std::vector<bool> control_;           // by id; ids beyond its end are ordinary
  std::vector<int32_t> character_ids_;  // [65536] by code point, -1: not in the vocabulary
  std::array<int32_t, 256> byte_ids_{};
};

// Collects the parts of a tokenizer, whatever file they come from. Order: pieces, then added tokens, then merges.
class TokenizerBuilder {
 public:
  // source names the file in messages.
  explicit TokenizerBuilder(std::string source);

  void reserve(size_t pieces, size_t bytes, size_t merges);

  // Errors: kCorruptFile for ids out of range or given twice.
  Result<void> add_piece(int32_t id, std::string_view text);
  // special: as the file says. normalized: looked for after spaces became U+2581. Errors: kCorruptFile when the
  // vocabulary disagrees about the id.
  Result<void> add_token(int32_t id, std::string_view text, bool special, bool normalized);
  // The merge of next rank, by the texts of its two parts. Errors: kCorruptFile when a part or their union is not a
  // piece; kUnsupported when a byte token takes part.
  Result<void> add_merge(std::string_view left, std::string_view right);

  // Errors: kUnsupported when one of the 256 byte tokens is missing.
  Result<Tokenizer> build();

 private:
  Result<int32_t> merge_part(std::string_view text, std::string_view role) const;

  std::string source_;
  Tokenizer tokenizer_;
  int64_t merges_seen_ = 0;
};

}  // namespace lapidary
