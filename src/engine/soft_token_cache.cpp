#include "engine/soft_token_cache.h"

#include "base/rng.h"

namespace lapidary {

uint64_t media_identity(const MediaInput& input) {
  return hash_counter(input.content_hash, static_cast<uint64_t>(input.kind), static_cast<uint64_t>(input.rows));
}

const std::vector<float>* SoftTokenCache::find(uint64_t identity) {
  ++queries_;
  const auto found = by_identity_.find(identity);
  if (found == by_identity_.end()) return nullptr;
  ++hits_;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &found->second->values;
}

void SoftTokenCache::add(uint64_t identity, std::vector<float> values) {
  Entry entry{identity, std::move(values)};
  if (bytes_of(entry) > bytes_max_ || by_identity_.count(identity) > 0) return;
  bytes_ += bytes_of(entry);
  entries_.push_front(std::move(entry));
  by_identity_[identity] = entries_.begin();
  while (bytes_ > bytes_max_) {
    bytes_ -= bytes_of(entries_.back());
    by_identity_.erase(entries_.back().identity);
    entries_.pop_back();
  }
}

}  // namespace lapidary
