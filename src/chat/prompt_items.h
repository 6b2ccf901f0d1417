// A prompt before it is tokens: control tokens by name, ordinary text, and places for media.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chat/messages.h"

namespace lapidary {

struct PromptItem {
  enum class Kind : uint8_t { kText, kSpecial, kMedia };
  Kind kind = Kind::kText;
  std::string text;  // kText: the text; kSpecial: the token's name; kMedia: the placeholder token's name
  PartKind media_kind = PartKind::kImage;
  int32_t media = -1;  // kMedia
};

class PromptItems {
 public:
  // Texts that follow each other are one item: they will be encoded as one run, as the reference encodes them.
  void text(std::string_view text) {
    if (text.empty()) return;
    if (items_.empty() || items_.back().kind != PromptItem::Kind::kText) items_.emplace_back();
    items_.back().text += text;
  }
  void special(std::string_view name) { items_.push_back({PromptItem::Kind::kSpecial, std::string(name)}); }
  void media(PartKind kind, int32_t index) {
    const char* name = kind == PartKind::kImage ? "<|image|>" : kind == PartKind::kAudio ? "<|audio|>" : "<|video|>";
    items_.push_back({PromptItem::Kind::kMedia, name, kind, index});
  }

  const std::vector<PromptItem>& items() const { return items_; }

 private:
  std::vector<PromptItem> items_;
};

}  // namespace lapidary
