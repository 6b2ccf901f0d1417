#include "text/vocabulary.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "base/rng.h"

namespace lapidary {
namespace {

uint64_t hash_text(std::string_view text) {
  uint64_t hash = text.size();
  while (text.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, text.data(), 8);
    hash = mix64(hash ^ word);
    text.remove_prefix(8);
  }
  uint64_t word = 0;
  std::memcpy(&word, text.data(), text.size());
  return mix64(hash ^ word ^ 0x9e3779b97f4a7c15ull);
}

}  // namespace

void Vocabulary::reserve(size_t pieces, size_t bytes) {
  text_.reserve(bytes);
  pieces_.reserve(pieces);
  const size_t slots = std::bit_ceil(2 * pieces + 16);
  if (slots > slots_.size()) rehash(slots);
}

Result<void> Vocabulary::add(int32_t id, std::string_view text) {
  if (id < 0 || id >= kIdsMax) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("id {} of piece \"{}\": expected 0 to {}", id, text, kIdsMax - 1)};
  }
  if (has(id)) {
    return Error{ErrorCode::kCorruptFile,
                 fmt::format("id {} is given to two pieces, \"{}\" and \"{}\"", id, piece(id), text)};
  }
  if (text_.size() + text.size() >= kNoPiece) {
    return Error{ErrorCode::kCorruptFile, fmt::format("more than {} bytes of pieces", kNoPiece)};
  }
  if (id >= size()) pieces_.resize(static_cast<size_t>(id) + 1);
  pieces_[static_cast<size_t>(id)] = {static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(text.size())};
  text_ += text;
  if (2 * (used_ + 1) > slots_.size()) rehash(std::max<size_t>(64, 2 * slots_.size()));
  insert(id, hash_text(text));
  return {};
}

std::string_view Vocabulary::piece(int32_t id) const {
  if (!has(id)) return {};
  const Piece& p = pieces_[static_cast<size_t>(id)];
  return std::string_view(text_).substr(p.offset, p.bytes);
}

std::optional<int32_t> Vocabulary::find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const uint64_t hash = hash_text(text);
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i].id >= 0; i = (i + 1) & mask) {
    if (slots_[i].tag == static_cast<uint32_t>(hash >> 32) && piece(slots_[i].id) == text) return slots_[i].id;
  }
  return std::nullopt;
}

void Vocabulary::insert(int32_t id, uint64_t hash) {
  const size_t mask = slots_.size() - 1;
  const uint32_t tag = static_cast<uint32_t>(hash >> 32);
  size_t i = hash & mask;
  for (; slots_[i].id >= 0; i = (i + 1) & mask) {
    if (slots_[i].tag == tag && piece(slots_[i].id) == piece(id)) {
      slots_[i].id = id;
      return;
    }
  }
  slots_[i] = {id, tag};
  ++used_;
}

void Vocabulary::rehash(size_t slots) {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
  used_ = 0;
  for (const Slot& slot : old) {
    if (slot.id >= 0) insert(slot.id, hash_text(piece(slot.id)));
  }
}

}  // namespace lapidary
