// The pieces of a vocabulary: id -> text and text -> id. Text is kept as the file has it, a space written as U+2581.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lapidary {

class Vocabulary {
 public:
  static constexpr int32_t kIdsMax = 1 << 22;  // the released vocabulary has 2^18

  // Makes room once for a vocabulary of about this many pieces and bytes of text.
  void reserve(size_t pieces, size_t bytes);

  // Gives id its text. Ids come in any order and may leave gaps. When two ids have the same text, find() returns the
  // one added last. Errors: kCorruptFile when id is outside [0, kIdsMax) or already has a text.
  Result<void> add(int32_t id, std::string_view text);

  // One more than the largest id.
  int32_t size() const { return static_cast<int32_t>(pieces_.size()); }
  bool has(int32_t id) const { return id >= 0 && id < size() && pieces_[static_cast<size_t>(id)].bytes != kNoPiece; }
  // Empty for an id that has no piece.
  std::string_view piece(int32_t id) const;
  std::optional<int32_t> find(std::string_view text) const;

 private:
  static constexpr uint32_t kNoPiece = UINT32_MAX;
  struct Piece {
    uint32_t offset = 0, bytes = kNoPiece;  // in text_
  };
  // Open addressing with linear probing; a slot is empty when id is negative. The tag saves most looks at the text.
  struct Slot {
    int32_t id = -1;
    uint32_t tag = 0;
  };

  void insert(int32_t id, uint64_t hash);
  void rehash(size_t slots);

  std::string text_;
  std::vector<Piece> pieces_;
  std::vector<Slot> slots_;  // a power of two, at least twice the pieces
  size_t used_ = 0;
};

}  // namespace lapidary
