// Tokenizers for tests: the golden one, and small ones made here.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace lapidary {

inline std::string golden_path(const std::string& name) { return LAPIDARY_SOURCE_DIR "/tests/golden/" + name; }

inline Json read_golden(const std::string& name) {
  std::ifstream in(golden_path(name), std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  Result<Json> json = parse_json_exact(text, name);
  EXPECT_TRUE(json) << (json ? "" : json.error().message);
  return json ? std::move(json).value() : Json::array();
}

inline const Tokenizer& golden_tokenizer() {
  static const Result<Tokenizer> tokenizer = Tokenizer::open(golden_path("models/unified-a"));
  CHECK(tokenizer);
  return *tokenizer;
}

// tokenizer.json with Gemma's structure: bytes, the given pieces, merges and special tokens, in this order of ids.
inline Json tokenizer_json(const std::vector<std::string>& pieces,
                           const std::vector<std::pair<std::string, std::string>>& merges,
                           const std::vector<std::string>& special) {
  Json vocab = Json::object(), merge_list = Json::array(), added = Json::array();
  const auto add = [&](const std::string& piece) {
    const size_t id = vocab.size();
    vocab[piece] = id;
  };
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kHex = "0123456789ABCDEF";
    add(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">");
  }
  for (const std::string& piece : pieces) add(piece);
  for (const auto& [left, right] : merges) merge_list.push_back({left, right});
  for (const std::string& piece : special) {
    add(piece);
    added.push_back(
        Json::object({{"id", vocab.size() - 1}, {"content", piece}, {"special", true}, {"normalized", false}}));
  }
  Json json = *parse_json(R"({
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
    "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                                                 {"type": "ByteFallback"}, {"type": "Fuse"}]},
    "model": {"type": "BPE", "byte_fallback": true}})",
                          "skeleton");
  json["added_tokens"] = added;
  json["model"]["vocab"] = vocab;
  json["model"]["merges"] = merge_list;
  return json;
}

}  // namespace lapidary
