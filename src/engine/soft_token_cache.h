// Encoded pictures and sound by what they show: a conversation sends its pictures again with every turn.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "base/media_input.h"

namespace lapidary {

// What K and V of a picture, frame or clip depend on, its place in the prompt apart: the values an encoder reads, which
// carry their budget and processing, and what kind they are.
uint64_t media_identity(const MediaInput& input);

// Rows by media_identity(), in f32 on the host: what a backend keeps in fewer bits comes back as the same bits.
class SoftTokenCache {
 public:
  explicit SoftTokenCache(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // nullptr when it is not here. Valid until the next add().
  const std::vector<float>* find(uint64_t identity);
  // The least recently used go for it; what is larger than the whole cache is not kept.
  void add(uint64_t identity, std::vector<float> values);

  int64_t bytes() const { return bytes_; }
  int64_t queries() const { return queries_; }
  int64_t hits() const { return hits_; }

 private:
  struct Entry {
    uint64_t identity = 0;
    std::vector<float> values;  // [rows, dim]
  };
  static int64_t bytes_of(const Entry& entry) { return static_cast<int64_t>(entry.values.size() * sizeof(float)); }

  int64_t bytes_max_, bytes_ = 0, queries_ = 0, hits_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_identity_;
};

}  // namespace lapidary
